"""Statistics of a sensor over a span of event time: they mean the same at any sampling period."""

from collections.abc import Sequence
from itertools import compress
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from common.arrays import Bool, Float, Int
from worker.windows.span_statistics import Counted, InSpan, SpanKind, Values, statistic

MOST_READING_MS = 2**31
"""Largest product of the readings and the length of a window with spans: sums of squared times stay exact."""
_CHUNK = 1024  # rows at a time, whose windows fit into a processor's own cache
_MANY = 128  # rows that are worth a chunk of their own
_UNITS = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


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


def span_features(spans: Sequence[Span], sensors: Sequence[str], history: History) -> Float:
    """Statistics over spans, shape [n, spans].

    Sums are over readings in the order of arrival, and those of times are exact. So the bits do not depend on what
    else a batch holds.

    Args:
        spans: what is computed.
        sensors: of the rows of `history.values`.
        history: of n rows.
    """
    out = np.full((len(spans), len(history.position)), np.nan)
    known = ~np.isnan(history.values)
    lacking = _lacking(known, history)
    parts = _parts(lacking, history.readings)
    order = np.concatenate(parts)
    wanted: dict[tuple[SpanKind, int], dict[int, int]] = {}
    for i, span in enumerate(spans):
        wanted.setdefault((span.kind, span.over_ms), {})[sensors.index(span.sensor)] = i
    done = 0
    for rows in (part[start : start + _CHUNK] for part in parts for start in range(0, len(part), _CHUNK)):
        present = np.any(lacking[:, rows] < history.readings[rows], axis=1)
        windows = _Windows(history, rows, known if lacking[:, rows][present].any() else None)
        chunk = slice(done, done := done + len(rows))
        for (kind, over_ms), places in wanted.items():
            if of := [at for at in places if present[at]]:
                out[[places[at] for at in of], chunk] = windows.statistic(kind, over_ms, of)[:, : len(rows)]
    features = np.empty(out.T.shape)
    # Zeros lose their sign: it could depend on how many empty places a sum began with.
    features[order] = out.T + 0.0
    return features


def _lacking(known: Bool, history: History) -> Int:
    """How many readings of each window lack a value, by sensor, shape [sensors, n]."""
    count = np.cumsum(~known, axis=1, dtype=np.int32)
    lacking: Int = count[:, history.position] - count[:, history.position - history.readings]
    return lacking


def _parts(lacking: Int, readings: Int) -> list[Int]:
    """Rows of windows that lack the same sensors, which share what follows from times alone.

    The last part has all other rows: windows that lack only some values of a sensor, and those that few are like.
    """
    absent = lacking == readings
    alike = np.where((absent | (lacking == 0)).all(axis=0), (1 << np.arange(len(absent))) @ absent, -1)
    order = np.argsort(alike, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(alike[order])) + 1)
    many = [len(run) >= _MANY and alike[run[0]] >= 0 for run in runs]
    others = [run for run, is_many in zip(runs, many, strict=True) if not is_many]
    return [*compress(runs, many), np.concatenate([*others, order[:0]])]


class _Windows:
    """The windows of a chunk of rows, [size, 1, n]: their readings, oldest first.

    Args:
        history: of all rows.
        rows: of the chunk. Of a single one there are two windows.
        known: which places have which sensor, as `History.values`; None: all readings have all that are asked for.
    """

    def __init__(self, history: History, rows: Int, known: Bool | None) -> None:
        if len(rows) == 1:
            # NumPy adds in order over the first axis only where the last one is longer than one.
            rows = rows.repeat(2)
        position, place = history.position[rows], np.arange(history.size)[:, None, None]
        self._history, self._known, self._first = history, known, position - history.size + 1
        ages = history.ts[position] - history.ts.take(place + self._first)
        ages[(ages < 0) | (place < history.size - history.readings[rows])] = -1
        self._ages, self._oldest = ages, int(ages.max())
        self._counted: dict[tuple[int | None, tuple[int, ...]], Counted] = {}

    def statistic(self, kind: SpanKind, over_ms: int, sensors: list[int]) -> Float:
        """A statistic of sensors over a span, shape [sensors or 1, n]."""
        size, length = self._history.size, len(self._history.ts)
        values = Values(self._history.values.ravel(), self._first + np.array(sensors)[:, None] * length, size)
        of = () if self._known is None else tuple(sensors)
        return statistic(kind, InSpan(self._of(over_ms, of), self._of(over_ms, ()), self._of(None, of), values))

    def _of(self, over_ms: int | None, sensors: tuple[int, ...]) -> Counted:
        """Readings of a span (None: of the whole window) that have the sensors, by sensor; of none: all readings."""
        if over_ms is not None and over_ms >= self._oldest:
            over_ms = None
        if (over_ms, sensors) not in self._counted:
            inside = self._ages >= 0
            if over_ms is not None:
                inside &= self._ages <= over_ms
            if sensors and self._known is not None:
                places = np.arange(self._history.size)[:, None] + self._first
                inside = inside & self._known[list(sensors)].take(places, axis=1).transpose(1, 0, 2)
            self._counted[over_ms, sensors] = Counted(self._ages, inside)
        return self._counted[over_ms, sensors]
