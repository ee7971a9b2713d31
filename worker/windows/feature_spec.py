"""What the features are (data, stored in the model package) and the kernel that computes them.

The kernel sees windows as rows of a *timeline*: for each key that a batch touches, the last readings already
held, then the new ones, in the order of arrival. Statistics come from a window's contents, never from running sums, so
that a window rebuilt from the log gives the same bits however the stream was cut into batches.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from common.arrays import Bool, Float, Int
from worker.windows.derived import Derived
from worker.windows.time_spans import MOST_READING_MS, Span

LONGEST_MS = 2**32 - 1  # ages of readings are kept in 32 bits; older readings are outside every window
_CHUNK = 512  # rows at a time, whose windows fit into a processor's own cache


class FeatureSpec(BaseModel):
    """The features of a model, in the order of its input columns.

    Attributes:
        sensors: columns whose value (forward-filled from the window) is a feature.
        differences: sensors whose first difference within the window, forward-filled, is a feature.
        rates: sensors whose change from one value to the next, divided by the seconds between these two readings, is a
            feature; it is missing where the reading has no value, or no time has passed.
        spans: statistics over spans of event time, which mean the same at any sampling period.
        derived: features that are computed from those before them.
        holds: readings that a window holds at most; None: as many as the longest of `windows` has.
        monotone: sign of features. 1: the higher, the likelier; -1: the lower, the likelier. The model keeps to it, as
            worker/model/monotone.py proves.
        rolling: sensors whose mean and sample standard deviation (ddof=1) over the last readings are features.
        windows: lengths of the rolling windows, in readings, ascending.
        max_span_ms: how far back a window reaches in event time.
        per: sensor -> topology parameter that it is divided by (a total per part).
        period_ms: time between two readings in training, as windows count readings; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensors: tuple[str, ...]
    differences: tuple[str, ...]
    rolling: tuple[str, ...]
    windows: tuple[PositiveInt, ...]
    max_span_ms: Annotated[int, Field(gt=0, le=LONGEST_MS)]
    per: dict[str, str] = {}
    period_ms: PositiveInt | None = None
    rates: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    derived: tuple[Derived, ...] = ()
    holds: PositiveInt | None = None
    monotone: dict[str, Literal[-1, 1]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "FeatureSpec":
        spanned = {span.sensor for span in self.spans}
        used = {*self.differences, *self.rates, *self.rolling, *self.per, *spanned}
        if unknown := used - set(self.sensors):
            raise ValueError(f"features of columns that are not among the sensors: {sorted(unknown)}")
        if list(self.windows) != sorted(set(self.windows)):
            raise ValueError(f"windows must be ascending and distinct, not {self.windows}")
        if not self.windows and (self.rolling or self.holds is None):
            raise ValueError("windows is empty: say how many readings a window has")
        if self.windows and self.max_readings < self.windows[-1]:
            raise ValueError(f"windows of {self.windows[-1]} readings need more than the {self.holds} that are held")
        self._check_spans()
        self._check_derived()
        if unknown := self.monotone.keys() - set(self.names):
            raise ValueError(f"monotone names what is no feature: {sorted(unknown)}")
        return self

    def _check_spans(self) -> None:
        if any(span.over_ms > self.max_span_ms for span in self.spans):
            raise ValueError(f"a span is longer than max_span_ms, {self.max_span_ms}")
        if self.spans and self.max_readings * self.max_span_ms > MOST_READING_MS:
            raise ValueError(f"{self.max_readings} readings over {self.max_span_ms} ms are too many for spans")

    def _check_derived(self) -> None:
        names = self.names
        added = len(self.spans) + len(self.derived)
        if repeated := [name for at, name in enumerate(names) if at >= len(names) - added and name in names[:at]]:
            raise ValueError(f"names of earlier features: {repeated}")
        for at, each in enumerate(self.derived, len(names) - len(self.derived)):
            if unknown := set(each.of) - set(names[:at]):
                raise ValueError(f"{each.name} is of features that are not before it: {sorted(unknown)}")

    @property
    def sensor_of(self) -> dict[str, str]:
        """The sensor that each feature is of, in column order; features that are of several are left out."""
        rolled = {f"{c}_{s}_{w}": c for c in self.rolling for w in self.windows for s in ("mean", "std")}
        changes = {f"{c}_diff": c for c in self.differences} | {f"{c}_rate": c for c in self.rates}
        found = {c: c for c in self.sensors} | changes | rolled | {span.name: span.sensor for span in self.spans}
        for each in self.derived:
            if len(of := {found.get(name) for name in each.of}) == 1 and (sensor := of.pop()) is not None:
                found[each.name] = sensor
        return found

    @property
    def names(self) -> list[str]:
        """Names of the features in column order. A sensor may have the name of another feature, such as `x_diff`."""
        changes = [*(f"{c}_diff" for c in self.differences), *(f"{c}_rate" for c in self.rates)]
        rolled = [f"{c}_{s}_{w}" for c in self.rolling for w in self.windows for s in ("mean", "std")]
        return [*self.sensors, *changes, *rolled, *(s.name for s in self.spans), *(d.name for d in self.derived)]

    @property
    def kept(self) -> tuple[str, ...]:
        """Sensors whose values windows hold: first the rolling ones, then those that only spans are of."""
        spanned = (span.sensor for span in self.spans)
        return (*self.rolling, *dict.fromkeys(sensor for sensor in spanned if sensor not in self.rolling))

    @property
    def max_readings(self) -> int:
        """Readings a window holds at most."""
        return self.holds or self.windows[-1]

    def scales(self, topology: Mapping[str, float | str]) -> Float:
        """Divisor of each sensor, shape [sensors], for a key with this topology.

        Raises:
            KeyError: the topology lacks a parameter that the features need.
        """
        return np.array([float(topology[self.per[c]]) if c in self.per else 1.0 for c in self.sensors])


class Timeline(NamedTuple):
    """Readings of all touched keys, key after key, in the order of arrival; shapes [t], [t] and [kept, t]."""

    ts: Int
    clock: Int
    rolled: Float


def readings_in_windows(spec: FeatureSpec, timeline: Timeline, position: Int) -> Int:
    """How many readings the windows hold that end at these positions of the timeline, shape [n].

    A window begins, among the last `max_readings`, with the first reading that is not older than `max_span_ms`, by the
    device's time and by the partition's stream time at arrival (see keyed_state.py for why both), and holds all that
    arrived after it, in whatever order of time.
    """
    ts, clock, size = timeline.ts, timeline.clock, spec.max_readings
    after_ts, after_clock = ts[position] - spec.max_span_ms, clock[position] - spec.max_span_ms
    oldest = position - size + 1
    readings = np.full(len(position), size)
    rows = np.flatnonzero((ts[oldest] <= after_ts) | (clock[oldest] <= after_clock))
    inside = sliding_window_view(ts, size)[oldest[rows]] > after_ts[rows, None]
    inside &= sliding_window_view(clock, size)[oldest[rows]] > after_clock[rows, None]
    readings[rows] = size - inside.argmax(axis=1)
    return readings


def rolling_features(spec: FeatureSpec, timeline: Timeline, position: Int, readings: Int) -> Float:
    """Mean and sample standard deviation of what was measured in each window, shape [n, rolling*windows*2].

    Missing values are left out, not filled. A mean of nothing and a deviation of fewer than two values are NaN.

    Args:
        spec: the features.
        timeline: all readings.
        position: where each window ends, shape [n].
        readings: how many each holds, shape [n].
    """
    out = np.empty((len(position), len(spec.rolling), len(spec.windows), 2))
    if spec.rolling:
        full = readings >= spec.windows[-1]
        _fill(out, np.flatnonzero(full), spec, timeline, position, None)
        # Few windows lack a value. It shows in the mean of the longest.
        lacking = ~full | np.isnan(out[:, :, -1, 0]).any(axis=1)
        _fill(out, np.flatnonzero(lacking), spec, timeline, position, readings)
    return out.reshape(len(position), len(spec.rolling) * len(spec.windows) * 2)


def _fill(out: Float, rows: Int, spec: FeatureSpec, timeline: Timeline, position: Int, readings: Int | None) -> None:
    """Put the statistics of these rows into `out`; without `readings`, of full windows only, and NaN makes NaN."""
    size = spec.windows[-1]
    windows = sliding_window_view(timeline.rolled[: len(spec.rolling)], size, axis=1)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        if len(chunk) == 1:
            # NumPy adds in order over any axis but the last in memory. It drops axes of length one, which would
            # change the order, and with it the last bits of the sum.
            chunk = chunk.repeat(2)
        values = windows[:, position[chunk] - size + 1].transpose(2, 0, 1).copy()  # [size, rolling, chunk]
        absent = None
        if readings is not None:
            outside = np.arange(size)[:, None] < size - readings[chunk]
            absent = np.isnan(values) | outside[:, None]
            values[absent] = 0.0
        out[chunk] = _moments(spec.windows, values, absent).transpose(3, 2, 0, 1)


def _moments(lengths: tuple[int, ...], values: Float, absent: Bool | None) -> Float:
    """Mean and sample standard deviation of the last values, shape [lengths, 2, rolling, n].

    In two passes over each stretch between two lengths (its mean, then squared deviations), which keeps precision
    where values are large and nearly equal. Stretches are put together by Chan, Golub & LeVeque 1983, "Algorithms for
    computing the sample variance", eq. 2.1.

    Args:
        lengths: how many of the last values, ascending.
        values: shape [lengths[-1], rolling, n], oldest first; 0 where absent.
        absent: those to leave out, same shape; None: none of them.
    """
    out = np.empty((len(lengths), 2, *values.shape[1:]))
    total: Float = np.zeros(values.shape[1:])
    squares, count, end = total, np.zeros(1), len(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        for i, length in enumerate(lengths):
            stretch = slice(len(values) - length, end)
            end = stretch.start
            added = np.add.reduce(values[stretch], axis=0)
            more = np.full(1, float(stretch.stop - stretch.start))
            if absent is not None:
                more = more - np.add.reduce(absent[stretch], axis=0, dtype=np.float64)
            deviation = values[stretch] - added / np.maximum(more, 1)
            if absent is not None:
                deviation[absent[stretch]] = 0.0
            deviation *= deviation
            gap = added / np.maximum(more, 1) - total / np.maximum(count, 1)
            between = gap * gap * (count * more / np.maximum(count + more, 1))
            squares = squares + np.add.reduce(deviation, axis=0) + between
            total, count = total + added, count + more
            out[i, 0] = total / count
            out[i, 1] = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    return out
