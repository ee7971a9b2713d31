"""Messages of a simulated fleet: its readings, and bad records beside them."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.times import HOUR_MS
from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet, Step
from pipelines.battery_hazard.simulator.plant.cell_indices import CELL_INDICES
from pipelines.battery_hazard.simulator.plant.sensing import LOW_CELL_V
from producers.kafka_publisher import Encoder

READING = "reading"
PUBLISHED = (*SENSORS, *CELL_INDICES)
"""Fields of a message beside its key, group and time."""
MASKED_KINDS = ("not_finite", "out_of_range")
"""One impossible value in an otherwise good reading: the worker scores it with that value masked."""
DEAD_LETTER_KINDS = ("random_bytes", "truncated", "wrong_key", "null_value", "future", "late")
"""Messages published beside the good ones, which become dead letters."""
DUPLICATE = "duplicate"
KINDS = (*MASKED_KINDS, *DEAD_LETTER_KINDS, DUPLICATE)
_IMPOSSIBLE = {"not_finite": (float("nan"), float("inf"), -float("inf")), "out_of_range": (1e9, -1e9)}

Message: TypeAlias = tuple[str | None, bytes | None, str]
"""Key, value, and the kind it is counted as."""


class Messages:
    """Turns steps into messages, good and bad. The same seed gives the same messages.

    `encode` takes the values of `PUBLISHED`.
    """

    def __init__(self, fleet: Fleet, encode: Encoder, bad_rate: float, max_future_ms: int) -> None:
        self._fleet = fleet
        self._encode = encode
        self._bad_rate = bad_rate
        self._max_future_ms = max_future_ms

    def of(self, step: Step, now_ms: int) -> Iterator[Message]:
        """Messages of one step. `now_ms` (wall clock) is used only to date readings from the future."""
        alive = np.flatnonzero(~np.isnan(step.values).all(axis=1))
        ts = step.ts.tolist()
        values: list[list[float | None]] = _nulls(step.values)
        cells = self._fleet.cells(step).tolist()
        rng = np.random.default_rng([self._fleet.seed, 4, ts[0]])
        spoilt = rng.random(len(ts)) < self._bad_rate
        kinds = rng.integers(0, len(KINDS), len(ts))
        for i in alive.tolist():
            kind = KINDS[kinds[i]] if spoilt[i] else READING
            key, group = self._fleet.module_ids[i], self._fleet.rack_ids[i]
            measured = values[i]
            measured += [
                None if value is None else cell for value, cell in zip(measured[LOW_CELL_V:], cells[i], strict=True)
            ]
            # If the only value were masked, nothing would be left to score.
            if kind in MASKED_KINDS and sum(v is not None for v in measured[: len(SENSORS)]) > 1:
                at = next(j for j, v in enumerate(measured) if v is not None)
                measured[at] = float(rng.choice(_IMPOSSIBLE[kind]))
                yield key, self._encode(key, group, ts[i], measured), kind
                continue
            good = self._encode(key, group, ts[i], measured)
            yield key, good, READING
            if kind not in (READING, *MASKED_KINDS):
                at_ms = {
                    "future": now_ms + self._max_future_ms + HOUR_MS,
                    "late": ts[i] - self._max_future_ms - HOUR_MS,
                }.get(kind)
                misdated = good if at_ms is None else self._encode(key, group, at_ms, measured)
                yield f"not-{key}" if kind == "wrong_key" else key, _spoilt(kind, misdated, rng), kind


def _spoilt(kind: str, value: bytes, rng: np.random.Generator) -> bytes | None:
    if kind == "random_bytes":
        # Neither wire format begins with this byte, so all such messages have the same dead-letter reason.
        return b"\x7f" + rng.bytes(int(rng.integers(1, 200)))
    if kind == "truncated":
        return value[: int(rng.integers(1, len(value)))]
    return None if kind == "null_value" else value


def _nulls(values: NDArray[np.float64]) -> list[list[float | None]]:
    boxed = values.astype(object)
    boxed[np.isnan(values)] = None
    rows: list[list[float | None]] = boxed.tolist()
    return rows
