"""The values of aggregates, from the buckets in their windows."""

from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from common.times import DAY_MS
from worker.windows.aggregates import Aggregate, Column, Kind, Statistic
from worker.windows.ring import StagedRing


class _Past(NamedTuple):
    """Buckets of windows, but for the newest, put together; by length of window (in buckets).

    Attributes:
        content: shape [stretches, columns].
        days: distinct days before the newest bucket's with a reading, shape [stretches, columns].
        today: whether there is one on that very day, shape [stretches, columns].
    """

    content: dict[int, Float]
    days: dict[int, Int]
    today: dict[int, Bool]


def ring_features(staged: StagedRing, selections: tuple[object, ...], aggregates: list[Aggregate]) -> Float:
    """Values of aggregates that are kept in one ring, for each row of the batch, shape [n, aggregates].

    Args:
        staged: the ring and the batch.
        selections: see `Layout.selections`.
        aggregates: any kind but the time since the last.
    """
    place = {column: i for i, column in enumerate(staged.ring.plan.columns)}
    past = _past(staged, sorted({a.buckets for a in aggregates}), aggregates)
    out = np.empty((len(staged.rows.group), len(aggregates)))
    for i, aggregate in enumerate(aggregates):
        selection, length = selections.index(aggregate.selection), aggregate.buckets

        def total(statistic: Statistic, length: int = length, selection: int = selection) -> Float:
            column = place[Column(statistic, selection)]
            ufunc = next(u for u, columns in staged.ring.folds if column in range(*columns.indices(len(place))))
            before: Float = past.content[length][staged.stretch, column]
            added: Float = ufunc(before, staged.newest_content[:, column])
            return added

        if aggregate.kind == Kind.DISTINCT_DAYS:
            column = place[Column(Statistic.COUNT, selection)]
            today = past.today[length][staged.stretch, column] | (staged.newest_content[:, column] > 0)
            out[:, i] = past.days[length][staged.stretch, column] + today
        elif aggregate.kind == Kind.MEAN:
            count = total(Statistic.COUNT)
            out[:, i] = total(Statistic.SUM) / np.where(count > 0, count, np.nan)
        elif aggregate.kind in (Kind.MIN, Kind.MAX):
            value = total(Statistic(aggregate.kind))
            out[:, i] = np.where(np.isinf(value), np.nan, value)
        else:
            out[:, i] = total(Statistic(aggregate.kind))
    return out


def _past(staged: StagedRing, lengths: list[int], aggregates: list[Aggregate]) -> _Past:
    """Put buckets together from the newer to the older, always in this order, whatever a batch holds."""
    shape = (len(staged.stretch_row), len(staged.ring.plan.columns))
    past = _Past(
        {n: np.empty(shape) for n in lengths},
        {n: np.empty(shape, np.int64) for n in lengths},
        {n: np.empty(shape, np.bool_) for n in lengths},
    )
    by_day = any(a.kind == Kind.DISTINCT_DAYS for a in aggregates)
    back = np.arange(1, max(lengths, default=1))
    for chunk in staged.chunks():
        row = staged.stretch_row[chunk]
        buckets = staged.buckets_after(row, back)
        content = np.tile(staged.ring.plan.neutral, (len(chunk), 1))
        for i in range(len(back) + 1):
            if i + 1 in past.content:
                past.content[i + 1][chunk] = content
            if i < len(back):
                staged.ring.combine(content, buckets[:, i])
        if by_day:
            _count_days(past, chunk, staged.current[row], buckets > 0, DAY_MS // staged.ring.plan.bucket_ms)
    return past


def _count_days(past: _Past, chunk: Int, current: Int, filled: Bool, per_day: int) -> None:
    days = np.zeros((len(chunk), filled.shape[2]), np.int64)
    seen = np.zeros(days.shape, np.bool_)  # whether the day of the bucket looked at last has a reading
    today = seen
    for i in range(filled.shape[1] + 1):
        if i + 1 in past.days:
            past.days[i + 1][chunk], past.today[i + 1][chunk] = days, today
        if i < filled.shape[1]:
            number = current - 1 - i
            on_today = (number // per_day == current // per_day)[:, None]
            # Going back, the last bucket of a day comes first.
            seen = np.where((number % per_day == per_day - 1)[:, None], False, seen)  # noqa: FBT003 - a value
            days = days + (filled[:, i] & ~seen & ~on_today)
            seen = seen | filled[:, i]
            today = today | (filled[:, i] & on_today)


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
