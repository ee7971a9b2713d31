"""The last scored reading of each key that has a window, for people who look a key up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.arrays import NEVER, Int
from worker.windows.partition import Partition

if TYPE_CHECKING:
    from worker.score.outcome import Outcome


@dataclass(frozen=True)
class LastScored:
    """One reading and what the model said of it.

    Attributes:
        ts: event time, ms.
        prediction: the predicted value; a probability, but for regression.
        predicted_class: of several; None for other tasks.
        positive: of binary models: whether it counts as positive.
        not_assessable: why the model could not judge it; None where it could.
        values: sensors in raw units, NaN where it had no valid value, in the order of the pipeline's sensors.
    """

    ts: int
    prediction: float
    predicted_class: str | None
    positive: bool
    not_assessable: str | None
    values: tuple[float, ...]


class LastScoredOfKeys:
    """The readings, as columns, by the slots of their keys' windows.

    Nothing of them outlives the windows: after a restart, a key has one from its next reading on.
    """

    def __init__(self, sensors: int) -> None:
        """`sensors`: how many the pipeline has."""
        self._columns: dict[str, Any] = {
            "ts": np.empty(0, np.int64),
            "prediction": np.empty(0),
            "positive": np.empty(0, np.bool_),
            "values": np.empty((0, sensors)),
            "predicted_class": np.empty(0, np.object_),
            "not_assessable": np.empty(0, np.object_),
        }

    def forget(self, slots: Int) -> None:
        """Empty slots that are given to new keys, shape [k]."""
        more = int(slots.max(initial=-1)) + 1 - len(self._columns["ts"])
        if more > 0:
            more = max(more, len(self._columns["ts"]), 64)  # twice as long
            for name, column in self._columns.items():
                added = np.zeros((more, *column.shape[1:]), column.dtype)
                self._columns[name] = np.concatenate((column, added))
        self._columns["ts"][slots] = NEVER

    def note(self, outcome: "Outcome", partitions: Mapping[int, Partition]) -> None:
        """Add a committed batch, which is part of the windows already."""
        scored, model = outcome.scored, outcome.model
        keys = zip(scored.origin.partition.tolist(), scored.origin.keys, strict=True)
        slots = [partitions[number].slots[key] for number, key in keys]
        label, reasons = scored.prediction.label, () if model.assessable is None else model.assessable.reasons
        # Of several readings of a key, the last one stays: NumPy assigns in order.
        self._columns["ts"][slots] = scored.readings.ts
        self._columns["prediction"][slots] = scored.probability
        self._columns["positive"][slots] = outcome.positive
        self._columns["values"][slots] = scored.readings.values
        self._columns["predicted_class"][slots] = None if label is None else np.array(model.classes)[label]
        self._columns["not_assessable"][slots] = np.array([None, *reasons], np.object_)[scored.reason]

    def of(self, slot: int) -> LastScored | None:
        """The last scored reading of the key in a slot; None where none was scored yet."""
        found = {name: column[slot] for name, column in self._columns.items()}
        if found["ts"] == NEVER:
            return None
        text = found["predicted_class"]
        return LastScored(
            int(found["ts"]),
            float(found["prediction"]),
            None if text is None else str(text),
            bool(found["positive"]),
            found["not_assessable"],
            tuple(found["values"].tolist()),
        )
