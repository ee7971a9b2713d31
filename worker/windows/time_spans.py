"""Statistics of a sensor over a span of event time: they mean the same at any sampling period."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from common.arrays import Bool, Float, Int
from worker.windows.span_statistics import Counted, SpanKind, statistics

MOST_READING_MS = 2**31
"""Largest product of the readings and the length of a window with spans: sums of squared times stay exact."""
_CHUNK = 1024  # rows at a time, whose windows fit into a processor's own cache
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
    places: dict[str, dict[int, list[int]]] = {}
    for i, span in enumerate(spans):
        places.setdefault(span.sensor, {}).setdefault(span.over_ms, []).append(i)
    for start in range(0, len(history.position), _CHUNK):
        rows = slice(start, start + _CHUNK)
        windows = _Windows(history, rows)
        for sensor, by_span in places.items():
            at = sensors.index(sensor)
            values, there = windows.of(history.values[at]), windows.of(known[at])
            if not there.any():
                continue
            complete = bool(there.all())
            everywhere = windows.counted(None, None if complete else there)
            for over_ms, wanted in by_span.items():
                inside = windows.counted(over_ms, None)
                counted = inside if complete else windows.counted(over_ms, there)
                found = statistics({spans[i].kind for i in wanted}, counted, inside, everywhere, values)
                for i in wanted:
                    out[i, rows] = found[spans[i].kind][: windows.rows]
    # Zeros lose their sign: it could depend on how many empty places a sum began with.
    return out.T + 0.0


class _Windows:
    """The windows of a chunk of rows, [size, n]: their readings, oldest first.

    Attributes:
        rows: how many rows the chunk has; windows may be one more.
    """

    def __init__(self, history: History, rows: slice) -> None:
        position, readings = history.position[rows], history.readings[rows]
        self.rows, self._size = len(position), history.size
        if self.rows == 1:
            # NumPy adds in order over the first axis only where the last one is longer than one.
            position, readings = position.repeat(2), readings.repeat(2)
        first, place = position - self._size + 1, np.arange(self._size)[:, None]
        # Rows of one key follow each other: their windows need no copy.
        follow = bool((np.diff(position) == 1).all())
        self._places = slice(first[0], first[-1] + self._size) if follow else first + place
        # In C order, as all that sums are made of.
        ages = np.subtract(history.ts[position], self.of(history.ts), order="C")
        ages[(ages < 0) | (place < self._size - readings)] = -1
        self._ages = ages
        self._complete: dict[int | None, Counted] = {}

    def of(self, column: NDArray[Any]) -> Any:
        """Windows on a column of the timeline; not to be written to."""
        found = column[self._places]
        return sliding_window_view(found, len(found) - self._size + 1) if found.ndim == 1 else found

    def counted(self, over_ms: int | None, there: Bool | None) -> Counted:
        """Readings of a span (None: of the whole window) that have a sensor; `there`: which do, None if all do."""
        if there is None and over_ms in self._complete:
            return self._complete[over_ms]
        inside = self._ages >= 0
        if over_ms is not None:
            inside &= self._ages <= over_ms
        counted = Counted(self._ages, inside if there is None else np.logical_and(inside, there, out=inside))
        if there is None:
            self._complete[over_ms] = counted
        return counted
