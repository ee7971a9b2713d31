"""Statistics of a sensor over a span of event time: they mean the same at any sampling period."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, ConfigDict, Field

from common.arrays import Bool, Float, Int

MOST_READING_MS = 2**31
"""Largest product of the readings and the length of a window with spans: sums of squared times stay exact."""
_CHUNK = 512  # rows at a time, whose windows fit into a processor's own cache
_UNITS = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


class SpanKind(StrEnum):
    """What a span tells of the readings in it."""

    RATE = "rate"
    MEAN = "mean"
    STD = "std"
    MIN = "min"
    MAX = "max"
    GAP = "gap"
    FIRST = "first"


class Span(BaseModel):
    """A statistic over the readings of the last `over_ms`, both ends included, that have a value of the sensor.

    A rate is the slope of the line of least squares, per second. A line needs two times. Where the span holds fewer,
    it is the line through the two newest values in the window, so that a reading each minute has a rate over 10 s.

    Attributes:
        sensor: what it is of.
        kind: what is computed. A deviation is that of a sample (ddof=1), and the first value is the oldest one before
            the reading that is scored. A gap is the seconds between the two newest values of different times (of one
            value, since the oldest reading), or since the newest one, if that is longer.
        over_ms: length of the span, by the readings' own times. Readings that came earlier and say a later time than
            the one that is scored are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    kind: SpanKind
    over_ms: Annotated[int, Field(gt=0)]

    @property
    def name(self) -> str:
        """Name of the feature, such as `pressure_rate_10s`."""
        unit, size = next(found for found in _UNITS if self.over_ms % found[1] == 0)
        return f"{self.sensor}_{self.kind}_{self.over_ms // size}{unit}"


class History(NamedTuple):
    """A timeline (worker/windows/feature_spec.py), and the windows on it that end at the rows of a batch.

    Attributes:
        ts: event times, ms, shape [t].
        values: by sensor, shape [sensors, t].
        position: where each window ends, shape [n].
        readings: how many each window holds, shape [n].
        size: how many a window holds at most.
    """

    ts: Int
    values: Float
    position: Int
    readings: Int
    size: int


class _Windows(NamedTuple):
    """Windows of a chunk of rows, oldest reading first.

    Attributes:
        ages: how much older than its row each reading is, ms, shape [size, n]; -1: it is outside, or not older.
        values: of one sensor, shape [size, n].
    """

    ages: Int
    values: Float


def span_features(spans: Sequence[Span], sensors: Sequence[str], history: History) -> Float:
    """Statistics over spans, shape [n, spans].

    Sums are over readings in the order of arrival, and those of times are exact. So the bits do not depend on what
    else a batch holds.

    Args:
        spans: what is computed.
        sensors: of the rows of `history.values`.
        history: of n rows.
    """
    out = np.empty((len(history.position), len(spans)))
    places: dict[int, dict[str, list[int]]] = {}
    for i, span in enumerate(spans):
        places.setdefault(span.over_ms, {}).setdefault(span.sensor, []).append(i)
    named = {span.sensor for span in spans}
    windows = sliding_window_view(history.values, history.size, axis=1)
    times = sliding_window_view(history.ts, history.size)
    for start in range(0, len(out), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(out)))
        # NumPy adds in order over the first axis only where the last one is longer than one.
        ends = rows if len(rows) > 1 else rows.repeat(2)
        first = history.position[ends] - history.size + 1
        ages = history.ts[history.position[ends]] - np.ascontiguousarray(times[first].T)
        ages[np.arange(history.size)[:, None] < history.size - history.readings[ends]] = -1
        ages = np.maximum(ages, -1)
        values = {name: np.ascontiguousarray(windows[sensors.index(name), first].T) for name in named}
        absent = {name for name in named if np.isnan(values[name]).all()}
        for over_ms, by_sensor in places.items():
            inside = (ages >= 0) & (ages <= over_ms)
            for sensor, wanted in by_sensor.items():
                if sensor in absent:
                    out[start : start + _CHUNK, wanted] = np.nan
                    continue
                found = _statistics({spans[i].kind for i in wanted}, inside, _Windows(ages, values[sensor]))
                for i in wanted:
                    out[rows, i] = found[spans[i].kind][: len(rows)]
    # Zeros lose their sign: it could depend on how many empty places a sum began with.
    return out + 0.0


def _statistics(kinds: set[SpanKind], inside: Bool, windows: _Windows) -> dict[SpanKind, Float]:
    """Statistics of a chunk, shape [n] each; `inside`: the readings that count, shape [size, n]."""
    since = int(inside.any(axis=1).argmax())
    values, ages = windows.values[since:], windows.ages[since:]
    known = inside[since:] & ~np.isnan(values)
    count = known.sum(axis=0)
    found: dict[SpanKind, Float] = {}
    if kinds & {SpanKind.RATE, SpanKind.MEAN, SpanKind.STD}:
        found = _moments(kinds, np.where(known, ages, 0), values, known, count)
    if SpanKind.MIN in kinds:
        found[SpanKind.MIN] = np.where(count > 0, np.where(known, values, np.inf).min(axis=0), np.nan)
    if SpanKind.MAX in kinds:
        found[SpanKind.MAX] = np.where(count > 0, np.where(known, values, -np.inf).max(axis=0), np.nan)
    if SpanKind.GAP in kinds:
        newer, older = _newest_two(_Windows(ages, values), known)
        oldest = np.where(np.isnan(older.age), np.where(inside[since:], ages, 0).max(axis=0), older.age)
        found[SpanKind.GAP] = np.maximum(oldest - newer.age, newer.age) / 1000
    if SpanKind.FIRST in kinds:
        before = np.where(known & (ages > 0), ages, -1)
        place, column = before.argmax(axis=0), np.arange(len(count))
        found[SpanKind.FIRST] = np.where(before[place, column] > 0, values[place, column], np.nan)
    if SpanKind.RATE in kinds:
        slope = found[SpanKind.RATE]
        lacking = np.flatnonzero(np.isnan(slope))
        if lacking.size:
            slope[lacking] = _between_newest(_Windows(windows.ages[:, lacking], windows.values[:, lacking]))
    return found


def _moments(kinds: set[SpanKind], ages: Int, values: Float, known: Bool, count: Int) -> dict[SpanKind, Float]:
    # Relative to one of the values, which keeps precision where they are large and nearly equal.
    place = len(values) - 1 - known[::-1].argmax(axis=0)
    origin = values[place, np.arange(len(count))]
    away = np.where(known, values - origin, 0.0)
    total = np.add.reduce(away, axis=0)
    found: dict[SpanKind, Float] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / np.where(count > 0, count, np.nan)
        if SpanKind.MEAN in kinds:
            found[SpanKind.MEAN] = origin + mean
        if SpanKind.STD in kinds:
            squares = np.add.reduce(np.where(known, away - mean, 0.0) ** 2, axis=0)
            found[SpanKind.STD] = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    if SpanKind.RATE in kinds:
        found[SpanKind.RATE] = _slopes(ages, away, total, count)
    return found


def _slopes(ages: Int, away: Float, total: Float, count: Int) -> Float:
    """Slopes of lines of least squares, per second, shape [n]; NaN where there are fewer than two times.

    Args:
        ages: of values, ms, shape [size, n]; 0 where there is none.
        away: values less a common one, shape [size, n]; 0 where there is none.
        total: sum of `away`, shape [n].
        count: of values, shape [n].
    """
    age = ages.sum(axis=0)
    spread = count * (ages * ages).sum(axis=0) - age * age
    product = age * total - count * np.add.reduce(ages * away, axis=0)
    slope: Float = 1000 * product / np.where(spread > 0, spread, np.nan)
    return slope


def _between_newest(windows: _Windows) -> Float:
    """Change per second between the two newest values of different times, shape [n]; NaN where there are none.

    It has the bits that `_slopes` gives for these two, so that rates over a short and a long span do not differ where
    both have the same two values. Otherwise a model could take the last bit for a change.
    """
    newer, older = _newest_two(windows, (windows.ages >= 0) & ~np.isnan(windows.values))
    away = older.value - newer.value
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1000 * ((newer.age + older.age) * away - 2 * (older.age * away)) / (older.age - newer.age) ** 2


class _Newest(NamedTuple):
    """The newest known value of each window (the last to arrive of several), and its age, ms; NaN: there is none."""

    value: Float
    age: Float


def _newest_two(windows: _Windows, known: Bool) -> tuple[_Newest, _Newest]:
    """The newest value of each window, and the newest of an earlier time."""
    newest = _newest(windows, known)
    return newest, _newest(windows, known & (windows.ages > newest.age))


def _newest(windows: _Windows, known: Bool) -> _Newest:
    ages = np.where(known, windows.ages, np.iinfo(np.int64).max)[::-1]
    place, column = len(known) - 1 - ages.argmin(axis=0), np.arange(known.shape[1])
    found = known[place, column]
    value, age = windows.values[place, column], windows.ages[place, column]
    return _Newest(np.where(found, value, np.nan), np.where(found, age, np.nan))
