"""The values of aggregates, from the buckets in their windows."""

from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from common.times import DAY_MS
from worker.windows.aggregates import Aggregate, Column, Kind, Selection, Statistic
from worker.windows.ring import StagedRing


class _Earlier(NamedTuple):
    """The buckets of a window before its newest one, put together, for each stretch of rows.

    Attributes:
        content: shape [columns, stretches].
        days: distinct days with a reading, but for the day of the newest bucket, shape [columns, stretches].
        today: whether there is a reading on that very day, shape [columns, stretches].
    """

    content: Float
    days: Int
    today: Bool


def ring_features(staged: StagedRing, selections: tuple[Selection, ...], aggregates: list[Aggregate]) -> Float:
    """Values of aggregates that are kept in one ring, for each row of the batch, shape [n, aggregates].

    Args:
        staged: the ring and the batch.
        selections: see `Layout.selections`.
        aggregates: of any kind but the time since the last.
    """
    columns = staged.ring.plan.columns
    place = {column: i for i, column in enumerate(columns)}
    by_day = sorted(
        {
            place[Column(Statistic.COUNT, selections.index(a.selection))]
            for a in aggregates
            if a.kind == Kind.DISTINCT_DAYS
        }
    )
    earlier = _earlier(staged, sorted({a.buckets for a in aggregates}, reverse=True), by_day)
    out = np.empty((len(staged.rows.group), len(aggregates)))
    for i, aggregate in enumerate(aggregates):
        parts, selection = earlier[aggregate.buckets], selections.index(aggregate.selection)
        if aggregate.kind == Kind.DISTINCT_DAYS:
            column = place[Column(Statistic.COUNT, selection)]
            today = parts.today[column, staged.stretch] | (staged.newest_content[:, column] > 0)
            out[:, i] = parts.days[column, staged.stretch] + today
        elif aggregate.kind == Kind.MEAN:
            count = _total(staged, parts, place[Column(Statistic.COUNT, selection)])
            added = _total(staged, parts, place[Column(Statistic.SUM, selection)])
            out[:, i] = added / np.where(count > 0, count, np.nan)
        else:
            value = _total(staged, parts, place[Column(Statistic(aggregate.kind), selection)])
            out[:, i] = np.where(np.isinf(value), np.nan, value)
    return out


def _total(staged: StagedRing, parts: _Earlier, column: int) -> Float:
    """A statistic of each row's window, shape [n]."""
    (ufunc,) = (ufunc for ufunc, columns in staged.ring.folds if columns.start <= column < columns.stop)
    total: Float = ufunc(parts.content[column, staged.stretch], staged.newest_content[:, column])
    return total


def _earlier(staged: StagedRing, lengths: list[int], by_day: list[int]) -> dict[int, _Earlier]:
    """By length of window in buckets.

    Args:
        staged: the ring and the batch.
        lengths: descending.
        by_day: columns of which days are counted.
    """
    plan = staged.ring.plan
    shape = len(plan.columns), len(staged.stretch_row)
    found = {n: _Earlier(np.empty(shape), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)) for n in lengths}
    for chunk in staged.chunks():
        number, by_stretch = staged.buckets_after(staged.stretch_row[chunk])
        # Stretches last, so that NumPy works on long rows.
        number, buckets = number.T.copy(), by_stretch.transpose(1, 2, 0).copy()
        current = staged.current[staged.stretch_row[chunk]]
        for length in lengths:
            outside = (number <= current - length) | (number == current)
            np.copyto(buckets, plan.neutral[:, None], where=outside[:, None])
            _put_together(staged, buckets, found[length].content[:, chunk[0] : chunk[-1] + 1])
            for column in by_day:
                days, today = _days(number, current, buckets[:, column] > 0, DAY_MS // plan.bucket_ms)
                found[length].days[column, chunk], found[length].today[column, chunk] = days, today
    return found


def _put_together(staged: StagedRing, buckets: Float, out: Float) -> None:
    """Combine buckets in the order of their places, which is the same however a stream is cut into batches.

    Args:
        staged: the ring and the batch.
        buckets: shape [places, columns, v].
        out: for the result, shape [columns, v].
    """
    out[:] = staged.ring.plan.neutral[:, None]
    for ufunc, columns in staged.ring.folds:
        for at_place in buckets[:, columns]:
            ufunc(out[columns], at_place, out=out[columns])


def _days(number: Int, current: Int, filled: Bool, per_day: int) -> tuple[Int, Bool]:
    """Distinct days before today, and whether today has a reading, shape [v] each; `number` and `filled`: [places, v].

    Args:
        number: of each bucket.
        current: number of the newest bucket, shape [v].
        filled: whether a bucket is in the window and has a reading.
        per_day: buckets of a day.
    """
    ago = current // per_day - number // per_day
    today = (filled & (ago == 0)).any(axis=0)
    if per_day == 1:
        return filled.sum(axis=0) - today, today
    earlier = [(filled & (ago == day)).any(axis=0) for day in range(1, len(number) // per_day + 2)]
    return np.sum(earlier, axis=0), today


def times_since(aggregates: list[Aggregate], newest: Int, last: Int) -> Float:
    """Seconds from the reading selected before to the newest one, shape [n, aggregates]; NaN if not within the window.

    Args:
        aggregates: of the kind `time_since_last`.
        newest: event time of each row's key, ms, shape [n].
        last: newest event time among the selected readings before each row, ms, shape [n, aggregates].
    """
    elapsed = newest[:, None] - last
    within = elapsed < np.array([a.over_ms for a in aggregates])
    return np.where(within, elapsed / 1000.0, np.nan)
