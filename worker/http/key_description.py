"""What a worker knows of one key, for a person to read: its last scored reading, its window and its alarms."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from common.times import iso_utc
from worker.alarms.rules import NOT_ASSESSABLE
from worker.alarms.state_machine import AlarmState
from worker.model.contract import Task
from worker.score.last_scored import LastScored
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_time = partial(iso_utc, precision="milliseconds")


def description_of(key: str, scorer: Scorer, partitions: Mapping[int, Partition]) -> dict[str, Any] | None:
    """The answer to `/keys/{key}`; None if none of these partitions holds a window of the key."""
    raw = key.encode()
    for number, of in partitions.items():
        if (window := scorer.windows.of(of, raw)) is None:
            continue
        readings, alarms = scorer.windows.last, scorer.alarms
        last = None if readings is None else readings.of(of.slots[raw])
        found: dict[str, Any] = {"key": key, "partition": number}
        found["last_scored"] = None if last is None else _reading(last, scorer)
        found[NOT_ASSESSABLE] = None if last is None else last.not_assessable
        found |= _window(window, scorer.windows.scale_of(of, raw))
        found["alarm"] = _alarm(alarms.of(number, raw))
        if alarms.rules:
            found["rules"] = {rule.name: _alarm(alarms.of(number, raw, rule.name)) for rule in alarms.rules}
        return found
    return None


def _reading(last: LastScored, scorer: Scorer) -> dict[str, Any]:
    """What the model said, and every sensor in its own unit, null where the reading had no valid value."""
    said: dict[str, Any] = {"prediction": last.prediction}
    if scorer.model.task is Task.BINARY:
        said["positive"] = last.positive
    elif last.predicted_class is not None:
        said["predicted_class"] = last.predicted_class
    values = (None if math.isnan(value) else value for value in last.values)
    return {"ts": _time(last.ts), **said, "sensors": dict(zip(scorer.sensors, values, strict=True))}


def _window(window: Mapping[str, Any], scale: Mapping[str, float]) -> dict[str, Any]:
    """A window in the units of the readings, and beside it the sensors that features take in another, as they do."""
    real = {name: _unscaled(values, scale[name]) if name in scale else values for name, values in window.items()}
    scaled = {name: window[name] for name in window if name in scale}
    return {"window": real | {"ts": [_time(ts) for ts in window["ts"]]}, "window_scaled": scaled, "scale": dict(scale)}


def _unscaled(values: list[float | None], scale: float) -> list[float | None]:
    """Values as they were sent: 12 digits, for the last bits may have changed on the way there and back."""
    return [None if value is None else float(f"{value * scale:.12g}") for value in values]


def _alarm(state: AlarmState) -> dict[str, Any]:
    """A state with times that people can read."""
    return {
        name: _time(value) if name.endswith("_ts") and value is not None else value
        for name, value in asdict(state).items()
    }
