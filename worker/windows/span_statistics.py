"""Statistics of a chunk of windows over one span of time, in NumPy's order of sums over the first axis.

Shapes are [size, s, n]: the readings of each of n windows, the oldest first, by sensor. What is the same for all
sensors has s = 1.
"""

from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

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


class Reading(NamedTuple):
    """A reading of each window, shape [s, n]: its age, ms, NaN where there is none, and its place."""

    age: Float
    place: Int

    def among(self, wanted: Bool) -> "Reading":
        """Those of some windows, shape [k]; wanted: shape [sensors, n]."""
        return Reading(
            np.broadcast_to(self.age, wanted.shape)[wanted], np.broadcast_to(self.place, wanted.shape)[wanted]
        )


class Values(NamedTuple):
    """Values of the windows' readings.

    Attributes:
        timeline: values of all sensors, one sensor after the other.
        first: where in it each window begins, shape [s, n].
        size: readings that a window holds.
    """

    timeline: Float
    first: Int
    size: int

    def since(self, place: int) -> Float:
        """Those from this place of the windows on, shape [size - place, s, n]; a copy."""
        return self.timeline.take(np.arange(place, self.size)[:, None, None] + self.first)

    def at(self, place: Int) -> Float:
        """One of each window, shape [s, n]; place: shape [s or 1, n]."""
        return self.timeline.take(self.first + place)


class Counted:
    """The readings of each window that count, and what follows from their ages alone.

    Sensors that every reading has share it.

    Attributes:
        since: the first place that counts in any window; the others are left out.
        known: which readings count. whole: all of them do.
        ages: how much older than the window's last reading each one is, ms, shape [size, 1, n].
    """

    def __init__(self, ages: Int, known: Bool) -> None:
        self.since = int(known.any(axis=(1, 2)).argmax())
        self.ages, self.known = ages[self.since :], known[self.since :]
        self.whole = bool(self.known.all())

    @cached_property
    def count(self) -> Int:
        """How many count, shape [s, n]."""
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
        """Sum of the ages, shape [s, n]."""
        age: Int = self.own_ages.sum(axis=0)
        return age

    @cached_property
    def spread(self) -> Float:
        """Count times the sum of squared deviations of the ages, shape [s, n]; NaN where they are all equal."""
        spread = self.count * (self.own_ages * self.own_ages).sum(axis=0) - self.age * self.age
        return np.where(spread > 0, spread, np.nan)

    @cached_property
    def _ranked(self) -> Int:
        """Ages times the size, plus how many places follow: tells both, and orders by both."""
        return self.ages * len(self.ages) + np.arange(len(self.ages))[::-1, None, None]

    def _at(self, ranked: Int) -> Reading:
        age, follow = np.divmod(ranked, len(self.ages))
        there = (ranked >= 0) & (ranked < _NONE)
        return Reading(np.where(there, age, np.nan), self.since + len(self.ages) - 1 - follow)

    @cached_property
    def newest(self) -> Reading:
        """The newest reading of each window; the last of several."""
        return self._at(np.where(self.known, self._ranked, _NONE).min(axis=0))

    @cached_property
    def older(self) -> Reading:
        """The newest reading of an earlier time; the last of several."""
        newest = np.nan_to_num(self.newest.age).astype(np.int64)
        return self._at(np.where(self.known & (self.ages > newest), self._ranked, _NONE).min(axis=0))

    @cached_property
    def first(self) -> Reading:
        """The oldest reading before the last one; the first of several."""
        return self._at(np.where(self.known & (self.ages > 0), self._ranked, -1).max(axis=0))

    @cached_property
    def oldest_age(self) -> Int:
        """Age of the oldest reading, ms, shape [s, n]; 0 where none counts."""
        oldest: Int = self.own_ages.max(axis=0)
        return oldest

    @cached_property
    def last(self) -> Int:
        """Place of the last reading to arrive, shape [s, n]; any place where there is none."""
        end = self.since + len(self.known) - 1
        return np.full((1, 1), end) if self.known[-1].all() else end - self.known[::-1].argmax(axis=0)

    def only(self, values: Float, otherwise: float) -> Float:
        """Values that count, and a number in place of the others."""
        return values if self.whole else np.where(self.known, values, otherwise)


class InSpan(NamedTuple):
    """Sensors over a span.

    Attributes:
        counted: the readings within the span that have the sensor.
        inside: all readings within the span.
        window: all readings of the windows that have the sensor.
        values: of the sensors.
    """

    counted: Counted
    inside: Counted
    window: Counted
    values: Values

    @property
    def own_values(self) -> Float:
        """Values from the first place that counts on."""
        return self.values.since(self.counted.since)

    @property
    def origin(self) -> Float:
        """The last value. Relative to it, values that are large and nearly equal keep their precision."""
        return self.values.at(self.counted.last)

    @property
    def away(self) -> Float:
        """Values relative to the origin; 0 where a reading does not count."""
        away = self.own_values
        away -= self.origin
        return self.counted.only(away, 0.0)


def statistic(kind: SpanKind, of: InSpan) -> Float:
    """A statistic of sensors over a span, shape [s or 1, n]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float = _STATISTICS[kind](of)
        return found


def _rate(of: InSpan) -> Float:
    """The slope of the line of least squares, per second, or else of the line through the two newest values."""
    counted, away = of.counted, of.away
    total = np.add.reduce(away, axis=0)
    away *= counted.own_ages_as_float
    slope: Float = 1000 * (counted.age * total - counted.count * np.add.reduce(away, axis=0)) / counted.spread
    lacking = np.isnan(slope)
    if lacking.any():
        slope[lacking] = _between_newest(of.window, of.values, lacking)
    return slope


def _between_newest(window: Counted, values: Values, wanted: Bool) -> Float:
    """Change per second between the two newest values of different times; NaN where there are none.

    It has the bits that a line of least squares has through these two, so that rates over a short and a long span do
    not differ where both have the same two values. Otherwise a model could take the last bit for a change.
    """
    newer, older = window.newest.among(wanted), window.older.among(wanted)
    of = values._replace(first=values.first[wanted])
    away = of.at(older.place) - of.at(newer.place)
    slope = 1000 * ((newer.age + older.age) * away - 2 * (older.age * away)) / (older.age - newer.age) ** 2
    # Where there are none, a value was read that is not of the window: a NaN made of it could have any bits.
    return np.where(np.isnan(older.age), np.nan, slope)


def _mean(of: InSpan) -> Float:
    return of.origin + _mean_away(of.counted, of.away)


def _mean_away(counted: Counted, away: Float) -> Float:
    mean: Float = np.add.reduce(away, axis=0) / np.where(counted.count > 0, counted.count, np.nan)
    return mean


def _std(of: InSpan) -> Float:
    counted, away = of.counted, of.away
    squares: Float = np.add.reduce(counted.only(away - _mean_away(counted, away), 0.0) ** 2, axis=0)
    return np.sqrt(squares / np.where(counted.count > 1, counted.count - 1, np.nan))


def _min(of: InSpan) -> Float:
    least: Float = of.counted.only(of.own_values, np.inf).min(axis=0)
    return np.where(of.counted.count > 0, least, np.nan)


def _max(of: InSpan) -> Float:
    greatest: Float = of.counted.only(of.own_values, -np.inf).max(axis=0)
    return np.where(of.counted.count > 0, greatest, np.nan)


def _gap(of: InSpan) -> Float:
    newest, older = of.counted.newest.age, of.counted.older.age
    gap: Float = np.maximum(np.where(np.isnan(older), of.inside.oldest_age, older) - newest, newest) / 1000
    return gap


def _first(of: InSpan) -> Float:
    first = of.counted.first
    return np.where(np.isnan(first.age), np.nan, of.values.at(first.place))


_STATISTICS = {
    SpanKind.RATE: _rate,
    SpanKind.MEAN: _mean,
    SpanKind.STD: _std,
    SpanKind.MIN: _min,
    SpanKind.MAX: _max,
    SpanKind.GAP: _gap,
    SpanKind.FIRST: _first,
}
