"""What the features are (data, stored in the model package) and the kernel that computes them.

The kernel sees windows as rows of a *timeline*: for each key that a batch touches, the last readings already
held, then the new ones, oldest first. Statistics come from a window's contents, never from running sums, so
that a window rebuilt from the log gives the same bits however the stream was cut into batches.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

NEVER = np.iinfo(np.int64).min // 4  # a time before all others that still survives a subtraction


class FeatureSpec(BaseModel):
    """The features of a model, in the order of its input columns.

    Attributes:
        sensors: columns whose value (forward-filled from the window) is a feature.
        differences: sensors whose first difference within the window is a feature.
        rolling: sensors whose mean and sample standard deviation (ddof=1) over the last readings are features.
        windows: lengths of the rolling windows, in readings, ascending.
        max_span_ms: how far back a window reaches in event time.
        per: sensor -> topology parameter that it is divided by (voltage per cell, current as C-rate).
        period_ms: time between two readings in training, as windows count readings; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensors: tuple[str, ...]
    differences: tuple[str, ...]
    rolling: tuple[str, ...]
    windows: tuple[PositiveInt, ...]
    max_span_ms: PositiveInt
    per: dict[str, str] = {}
    period_ms: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "FeatureSpec":
        unknown = (set(self.differences) | set(self.rolling) | set(self.per)) - set(self.sensors)
        if unknown:
            raise ValueError(f"features of columns that are not among the sensors: {sorted(unknown)}")
        if not self.windows or list(self.windows) != sorted(set(self.windows)):
            raise ValueError(f"windows must be ascending and distinct, not {self.windows}")
        return self

    @property
    def sensor_of(self) -> dict[str, str]:
        """The sensor that each feature is of, in column order."""
        rolled = {f"{c}_{s}_{w}": c for c in self.rolling for w in self.windows for s in ("mean", "std")}
        return {c: c for c in self.sensors} | {f"{c}_diff": c for c in self.differences} | rolled

    @property
    def names(self) -> list[str]:
        """Names of the features in column order."""
        return list(self.sensor_of)

    @property
    def max_readings(self) -> int:
        """Readings a window holds at most."""
        return self.windows[-1]

    def scales(self, topology: dict[str, float]) -> Float:
        """Divisor of each sensor, shape [sensors], for a key with this topology.

        Raises:
            KeyError: the topology lacks a parameter that the features need.
        """
        return np.array([topology[self.per[c]] if c in self.per else 1.0 for c in self.sensors])


class Timeline(NamedTuple):
    """Readings of all touched keys, key after key, oldest first; shapes [t], [t] and [rolling, t]."""

    ts: Int
    clock: Int
    rolled: Float


class Windows(NamedTuple):
    """The window of each row: places in the timeline [n, max_readings], which of those are in it, how many."""

    place: Int
    inside: Bool
    readings: Int


def windows_at(spec: FeatureSpec, timeline: Timeline, position: Int) -> Windows:
    """Windows that end at these positions of the timeline, shape [n].

    A window holds at most `max_readings` readings and none older than `max_span_ms`, by the device's time and
    by the partition's stream time at arrival (see worker/state.py for why both).
    """
    place = position[:, None] + np.arange(1 - spec.max_readings, 1)
    inside = timeline.ts[place] > (timeline.ts[position] - spec.max_span_ms)[:, None]
    inside &= timeline.clock[place] > (timeline.clock[position] - spec.max_span_ms)[:, None]
    return Windows(place, inside, inside.sum(axis=1))


def rolling_features(spec: FeatureSpec, timeline: Timeline, windows: Windows) -> Float:
    """Mean and sample standard deviation of what was measured in each window, shape [n, rolling*windows*2].

    Missing values are left out, not filled. A mean of nothing and a deviation of fewer than two values are NaN.
    Two passes (mean, then squared deviations), which keeps precision where values are large and nearly equal.
    """
    # One array operation a place, newest first: elementwise additions, so that the bits of a row depend neither on
    # how many rows there are nor on NumPy's choice of a summation order; and a longer window goes on from a shorter.
    place, inside = windows.place.T[::-1], windows.inside.T[::-1]
    values = np.stack([sensor[place] for sensor in timeline.rolled], axis=1)  # [max_readings, rolling, n]
    present = inside[:, None] & ~np.isnan(values)
    values[~present] = 0.0
    shape = values.shape[1:]
    out = np.empty((shape[0], len(spec.windows), 2, shape[1]))
    total, count, summed = np.zeros(shape), np.zeros(shape), 0
    with np.errstate(invalid="ignore", divide="ignore"):
        for w, length in enumerate(spec.windows):
            for i in range(summed, length):
                total += values[i]
                count += present[i]
            summed = length
            mean, squares = total / count, np.zeros(shape)
            for i in range(length):
                squares += np.square((values[i] - mean) * present[i])
            out[:, w, 0] = mean
            out[:, w, 1] = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return out.reshape(shape[0] * len(spec.windows) * 2, shape[1]).T
