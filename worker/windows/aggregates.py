"""Aggregates over event time: their kinds, and how what they need is kept in buckets.

A window of days cannot be rebuilt from the log, and holds too many readings to keep. So time is cut into *buckets*, and
for each key and bucket only statistics are kept. A window is whole buckets: the one of the key's newest reading, and
those before it. docs/features.md gives the formulas and the pandas expressions.
"""

import hashlib
import json
import re
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from common.arrays import Float
from common.times import DAY_MS, HOUR_MS, MINUTE_MS

SHORTEST_MS, LONGEST_MS = MINUTE_MS, 400 * DAY_MS
_FEWEST_BUCKETS = 7
_BUCKETS_MS = {"1 day": DAY_MS, "1 hour": HOUR_MS, "10 minutes": 10 * MINUTE_MS, "1 minute": MINUTE_MS}
_SHORTEST_BUCKET = "10 seconds", 10_000


class Kind(StrEnum):
    """What an aggregate tells of the readings in its window."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    DISTINCT_DAYS = "distinct_days"
    TIME_SINCE_LAST = "time_since_last"


class Statistic(StrEnum):
    """What a bucket holds of its readings."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"


NEUTRAL = {Statistic.COUNT: 0.0, Statistic.SUM: 0.0, Statistic.MIN: np.inf, Statistic.MAX: -np.inf}
"""Statistics of no reading."""
_KEPT = {
    Kind.COUNT: (Statistic.COUNT,),
    Kind.SUM: (Statistic.SUM,),
    Kind.MEAN: (Statistic.COUNT, Statistic.SUM),
    Kind.MIN: (Statistic.MIN,),
    Kind.MAX: (Statistic.MAX,),
    Kind.DISTINCT_DAYS: (Statistic.COUNT,),
    Kind.TIME_SINCE_LAST: (),
}
OF_VALUES = frozenset({Kind.SUM, Kind.MEAN, Kind.MIN, Kind.MAX})
"""Aggregates of the values of a field; the others are of readings."""


class Selection(NamedTuple):
    """The readings that an aggregate is about.

    Attributes:
        field: they have a value of this field; None: any reading.
        where: they have these values of category or boolean fields.
    """

    field: str | None = None
    where: tuple[tuple[str, str | bool], ...] = ()

    def __str__(self) -> str:
        of = "readings" if self.field is None else f"readings with {self.field}"
        return " and ".join((of, *(f"{field} = {json.dumps(value)}" for field, value in self.where)))

    @property
    def name(self) -> str:
        """Its name in the records of window state, an Avro name. It depends on nothing but the selection."""
        text = re.sub(r"\W", "_", "_".join((self.field or "readings", *(str(w) for pair in self.where for w in pair))))
        digest = hashlib.sha256(json.dumps([self.field, self.where]).encode()).hexdigest()[:8]
        return f"{text.encode('ascii', 'ignore').decode()}_{digest}" if self.where else text


class Aggregate(NamedTuple):
    """One feature.

    Attributes:
        name: of the feature.
        kind: what it tells.
        selection: of which readings.
        over_ms: length of its window.
    """

    name: str
    kind: Kind
    selection: Selection
    over_ms: int

    @property
    def bucket_ms(self) -> int:
        """Length of its buckets."""
        return bucket_ms(self.over_ms)

    @property
    def buckets(self) -> int:
        """How many buckets its window has, the newest included."""
        return self.over_ms // self.bucket_ms


def bucket_ms(over_ms: int) -> int:
    """Length of the buckets of a window of this length: the longest of which it has seven or more.

    Windows from 7 days have buckets of a day (in UTC), from 7 hours of an hour, from 70 minutes of 10 minutes, from 7
    minutes of a minute; shorter ones of 10 seconds.
    """
    return _bucket(over_ms)[1]


def _bucket(over_ms: int) -> tuple[str, int]:
    fitting = (named for named in _BUCKETS_MS.items() if over_ms >= _FEWEST_BUCKETS * named[1])
    return next(fitting, _SHORTEST_BUCKET)


def fault(aggregate: Aggregate) -> str | None:
    """What is wrong with a declaration; None if nothing is."""
    if aggregate.kind in OF_VALUES and aggregate.selection.field is None:
        return f"{aggregate.kind} needs a field"
    if not SHORTEST_MS <= aggregate.over_ms <= LONGEST_MS:
        return f"it must be at least 1 minute and at most {LONGEST_MS // DAY_MS} days"
    name, length = _bucket(aggregate.over_ms)
    if aggregate.over_ms % length:
        return f"a window of this length is kept in buckets of {name}, and it must be a whole number of them"
    return None


def around(over_ms: int) -> tuple[int, ...]:
    """The next lengths below and above one that is no whole number of buckets; empty if it is, or is out of range."""
    length = bucket_ms(over_ms)
    if not SHORTEST_MS <= over_ms <= LONGEST_MS or over_ms % length == 0:
        return ()
    below = over_ms - over_ms % length
    return below, below + length


class Column(NamedTuple):
    """A statistic that buckets hold, of one selection (its index in `Layout.selections`)."""

    statistic: Statistic
    selection: int


class RingPlan(NamedTuple):
    """What is kept for each key in buckets of one length.

    Attributes:
        bucket_ms: their length.
        buckets: how many are kept, the newest included.
        columns: of each bucket; first those that add up (counts, sums), then least values, then greatest.
    """

    bucket_ms: int
    buckets: int
    columns: tuple[Column, ...]

    @property
    def neutral(self) -> Float:
        """An empty bucket, shape [columns]."""
        return np.array([NEUTRAL[column.statistic] for column in self.columns])


class Layout:
    """How the aggregates of a pipeline are kept.

    Args:
        aggregates: the features, in their order.

    Attributes:
        selections: distinct selections. A batch has a column of values for each: NaN where a reading is not selected.
        rings: by length of bucket, ascending.
        last: selections whose latest event time is kept.
        longest_ms: a key without readings for this long is forgotten.
    """

    def __init__(self, aggregates: tuple[Aggregate, ...]) -> None:
        self.aggregates = aggregates
        self.selections = tuple(dict.fromkeys(a.selection for a in aggregates))
        self.last = tuple(
            i for i, s in enumerate(self.selections) if any(self._is_last(a) and a.selection == s for a in aggregates)
        )
        self.longest_ms = max(a.over_ms for a in aggregates)
        lengths = sorted({a.bucket_ms for a in aggregates})
        self.rings = tuple(self._ring(length) for length in lengths)

    @staticmethod
    def _is_last(aggregate: Aggregate) -> bool:
        return aggregate.kind == Kind.TIME_SINCE_LAST

    def _ring(self, length: int) -> RingPlan:
        those = [a for a in self.aggregates if a.bucket_ms == length]
        needed = {Column(kept, self.selections.index(a.selection)) for a in those for kept in _KEPT[a.kind]}
        order = list(Statistic)
        columns = sorted(needed, key=lambda column: (order.index(column.statistic), column.selection))
        # The latest time is kept beside the buckets, so it alone needs no more than the newest of them.
        buckets = max((a.buckets for a in those if not self._is_last(a)), default=1)
        return RingPlan(length, buckets, tuple(columns))

    def column_name(self, column: Column) -> str:
        """Name of a statistic in the records of window state."""
        return f"{column.statistic}_{self.selections[column.selection].name}"
