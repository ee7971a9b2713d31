"""The last scored reading of each key that has a window, for people who look a key up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.arrays import Int
from worker.score.outcome import Outcome
from worker.windows.partition import Partition


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
    """The readings, as columns. Nothing of them outlives the process: a key has one from its next reading on."""

    def __init__(self, sensors: int) -> None:
        """`sensors`: how many the pipeline has."""
        self._places: dict[int, dict[bytes, int]] = {}
        self._free: list[int] = []
        self._columns: dict[str, Any] = {
            "ts": np.empty(0, np.int64),
            "prediction": np.empty(0),
            "positive": np.empty(0, np.bool_),
            "values": np.empty((0, sensors)),
            "predicted_class": np.empty(0, np.object_),
            "not_assessable": np.empty(0, np.object_),
        }

    def note(self, outcome: Outcome) -> None:
        """Add a committed batch."""
        scored, model = outcome.scored, outcome.model
        numbers = scored.origin.partition.tolist()
        last = {place: row for row, place in enumerate(zip(numbers, scored.origin.keys, strict=True))}
        rows = np.fromiter(last.values(), np.int64, len(last))
        places = self._places_of(last)
        label, reasons = scored.prediction.label, () if model.assessable is None else model.assessable.reasons
        self._columns["ts"][places] = scored.readings.ts[rows]
        self._columns["prediction"][places] = scored.probability[rows]
        self._columns["positive"][places] = outcome.positive[rows]
        self._columns["values"][places] = scored.readings.values[rows]
        self._columns["predicted_class"][places] = None if label is None else np.array(model.classes)[label[rows]]
        self._columns["not_assessable"][places] = np.array([None, *reasons], np.object_)[scored.reason[rows]]

    def of(self, partition: int, key: bytes) -> LastScored | None:
        """A key's last scored reading; None where none was scored since the start."""
        place = self._places.get(partition, {}).get(key)
        if place is None:
            return None
        found = {name: column[place] for name, column in self._columns.items()}
        text = found["predicted_class"]
        return LastScored(
            int(found["ts"]),
            float(found["prediction"]),
            None if text is None else str(text),
            bool(found["positive"]),
            found["not_assessable"],
            tuple(found["values"].tolist()),
        )

    def keep(self, partition: Partition) -> None:
        """Forget keys that have no window any more, once more keys are remembered than have one."""
        own, slots = self._places.get(partition.number, {}), partition.slots
        if len(own) > len(slots):
            self._free.extend(own.pop(key) for key in [key for key in own if key not in slots])

    def revoke(self, partition: int) -> None:
        """Forget a partition."""
        self._free.extend(self._places.pop(partition, {}).values())

    def _places_of(self, keys: Iterable[tuple[int, bytes]]) -> Int:
        """Where readings of these keys are kept, shape [k]."""
        places = []
        for number, key in keys:
            of_partition = self._places.setdefault(number, {})
            if (place := of_partition.get(key)) is None:
                place = of_partition[key] = self._free.pop() if self._free else self._grown()
            places.append(place)
        return np.array(places, np.int64)

    def _grown(self) -> int:
        """A free place, after the columns were made twice as long."""
        held = len(self._columns["ts"])
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate((column, np.zeros((max(held, 64), *column.shape[1:]), column.dtype)))
        self._free.extend(range(held + max(held, 64) - 1, held - 1, -1))
        return self._free.pop()
