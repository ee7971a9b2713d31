"""Statistics of a chunk of windows over one span of time, in NumPy's order of sums over the first axis.

Shapes are [size, n]: the readings of each of n windows, the oldest first.
"""

from collections.abc import Collection
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import Bool, Float, Int

_NONE = np.iinfo(np.int64).max


class SpanKind(StrEnum):
    """What a span tells of the readings in it."""

    RATE = "rate"
    MEAN = "mean"
    STD = "std"
    MIN = "min"
    MAX = "max"
    GAP = "gap"
    FIRST = "first"


class Newest(NamedTuple):
    """The newest reading of each window: its age, ms, NaN where there is none, and its place; the last of several."""

    age: Float
    place: NDArray[np.int32]


class Counted:
    """The readings of each window that count, and what follows from their ages alone.

    Sensors that every reading has share it.

    Attributes:
        since: the first place that counts in any window; the others are left out.
        known: which readings count. whole: all of them do.
        ages: how much older than the window's last reading each one is, ms.
    """

    def __init__(self, ages: Int, known: Bool) -> None:
        self.since = int(known.any(axis=1).argmax())
        self.ages, self.known = ages[self.since :], known[self.since :]
        self.whole = bool(self.known.all())

    @cached_property
    def count(self) -> Int:
        """How many count, shape [n]."""
        count: Int = self.known.sum(axis=0)
        return count

    @cached_property
    def own_ages(self) -> Int:
        """Ages; 0 where a reading does not count."""
        return self.ages if self.whole else np.where(self.known, self.ages, 0)

    @cached_property
    def own_ages_as_float(self) -> Float:
        """The same; a float holds each of them exactly."""
        return self.own_ages.astype(np.float64)

    @cached_property
    def age(self) -> Int:
        """Sum of the ages, shape [n]."""
        age: Int = self.own_ages.sum(axis=0)
        return age

    @cached_property
    def spread(self) -> Float:
        """Count times the sum of squared deviations of the ages, shape [n]; NaN where they are all equal."""
        spread = self.count * (self.own_ages * self.own_ages).sum(axis=0) - self.age * self.age
        return np.where(spread > 0, spread, np.nan)

    @cached_property
    def newest(self) -> "Newest":
        """The newest reading of each window."""
        return self._least(self.known)

    @cached_property
    def older(self) -> "Newest":
        """The newest reading of an earlier time."""
        return self._least(self.known & (self.ages > self.newest.age))

    def _least(self, known: Bool) -> "Newest":
        ages = np.where(known, self.ages, _NONE)
        least = ages.min(axis=0)
        # Faster than the place of the least, and the last one of several.
        place = np.where(ages == least, np.arange(len(ages), dtype=np.int32)[:, None], 0).max(axis=0)
        return Newest(np.where(least < _NONE, least, np.nan), place)

    @cached_property
    def oldest_age(self) -> Int:
        """Age of the oldest reading, ms, shape [n]; 0 where none counts."""
        oldest: Int = self.own_ages.max(axis=0)
        return oldest

    @cached_property
    def first(self) -> tuple[Int, Bool]:
        """Place of the oldest reading before the last one, and whether there is one, shape [n] each."""
        before = np.where(self.known & (self.ages > 0), self.ages, -1)
        place = before.argmax(axis=0)
        return place, before[place, np.arange(before.shape[1])] > 0

    def origin(self, values: Float) -> Float:
        """The last value to arrive of those that count, shape [n]; any value where none does."""
        place: int | Int = len(values) - 1
        if not self.known[-1].all():
            place = place - self.known[::-1].argmax(axis=0)
        last: Float = values[place, np.arange(values.shape[1])]
        return last

    def only(self, values: Float, otherwise: float) -> Float:
        """Values that count, and a number in place of the others."""
        return values if self.whole else np.where(self.known, values, otherwise)


def statistics(
    kinds: Collection[SpanKind], counted: Counted, inside: Counted, window: Counted, values: Float
) -> dict[SpanKind, Float]:
    """Statistics of a sensor, shape [n] each.

    Args:
        kinds: which.
        counted: the readings within the span that have the sensor.
        inside: all readings within the span.
        window: all readings of the windows that have it.
        values: of the sensor.
    """
    within = values[counted.since :]
    found: dict[SpanKind, Float] = {}
    if {SpanKind.RATE, SpanKind.MEAN, SpanKind.STD} & set(kinds):
        found = _moments(kinds, counted, within)
    if SpanKind.MIN in kinds:
        found[SpanKind.MIN] = np.where(counted.count > 0, counted.only(within, np.inf).min(axis=0), np.nan)
    if SpanKind.MAX in kinds:
        found[SpanKind.MAX] = np.where(counted.count > 0, counted.only(within, -np.inf).max(axis=0), np.nan)
    if SpanKind.GAP in kinds:
        newest, older = counted.newest.age, counted.older.age
        found[SpanKind.GAP] = np.maximum(np.where(np.isnan(older), inside.oldest_age, older) - newest, newest) / 1000
    if SpanKind.FIRST in kinds:
        place, there = counted.first
        found[SpanKind.FIRST] = np.where(there, within[place, np.arange(len(place))], np.nan)
    if SpanKind.RATE in kinds:
        slope = found[SpanKind.RATE]
        lacking = np.flatnonzero(np.isnan(slope))
        if lacking.size:
            slope[lacking] = _between_newest(window, values, lacking)
    return found


def _moments(kinds: Collection[SpanKind], counted: Counted, values: Float) -> dict[SpanKind, Float]:
    # Relative to one of the values, which keeps precision where they are large and nearly equal.
    origin, count = counted.origin(values), counted.count
    # In C order, whatever the order of the values in memory, because that decides the order of the sums.
    away = counted.only(np.subtract(values, origin, order="C"), 0.0)
    total = np.add.reduce(away, axis=0)
    found: dict[SpanKind, Float] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        if {SpanKind.MEAN, SpanKind.STD} & set(kinds):
            mean = total / np.where(count > 0, count, np.nan)
            found[SpanKind.MEAN] = origin + mean
        if SpanKind.STD in kinds:
            squares = np.add.reduce(counted.only(away - mean, 0.0) ** 2, axis=0)
            found[SpanKind.STD] = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
        if SpanKind.RATE in kinds:
            # The slope of the line of least squares, per second; NaN where there are fewer than two times.
            product = counted.age * total - count * np.add.reduce(counted.own_ages_as_float * away, axis=0)
            found[SpanKind.RATE] = 1000 * product / counted.spread
    return found


def _between_newest(window: Counted, values: Float, rows: Int) -> Float:
    """Change per second between the two newest values of different times, by row; NaN where there are none.

    It has the bits that a line of least squares has through these two, so that rates over a short and a long span do
    not differ where both have the same two values. Otherwise a model could take the last bit for a change.
    """
    (newer, older), within = (window.newest.age[rows], window.older.age[rows]), values[window.since :]
    away = within[window.older.place[rows], rows] - within[window.newest.place[rows], rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1000 * ((newer + older) * away - 2 * (older * away)) / (older - newer) ** 2
