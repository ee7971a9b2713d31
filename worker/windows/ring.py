"""Buckets of one length, of all keys, and the same beside a batch that is not merged yet.

The bucket with number b (event time divided by its length) is at place b modulo the number of buckets kept.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.aggregates import RingPlan, Statistic
from worker.windows.segments import accumulate

NO_BUCKET = NEVER
_CHUNK = 2**18  # numbers looked at together, which bounds memory


class Places(NamedTuple):
    """Buckets of keys, shape [n] each.

    Attributes:
        key: index of the key.
        number: of the bucket.
    """

    key: Int
    number: Int


class Buckets(NamedTuple):
    """Buckets of keys as `Places`, and what they hold, shape [n, columns]."""

    key: Int
    number: Int
    content: Float


class Rows(NamedTuple):
    """Readings of a batch, sorted by slot, then offset. Shapes [n], values [n, selections].

    Attributes:
        slot: of the row's key; negative where the key has none yet.
        group: number of the row's group: readings of one key, from one point at which it is forgotten to the next.
        first: whether the row is the first of its group.
        held: row of the state that the group goes on from.
        time: event time, ms.
        newest: newest event time of the key, this row included, ms.
        counted: whether the reading counts; it does not if it was counted before.
        values: by selection, NaN where the reading is not selected.
    """

    slot: Int
    group: Int
    first: Bool
    held: Int
    time: Int
    newest: Int
    counted: Bool
    values: Float


class Cells(NamedTuple):
    """Buckets that a batch adds to, sorted by group and number, and what they hold after each row that adds.

    Attributes:
        code: of group and number, ascending, shape [c].
        group: shape [c].
        number: of the bucket, shape [c].
        start: index in `row` of the cell's first row, shape [c].
        row: rows that add, cell after cell, shape [m].
        content: of the cell after that row, shape [m, columns].
    """

    code: Int
    group: Int
    number: Int
    start: Int
    row: Int
    content: Float

    @property
    def last(self) -> Int:
        """Index in `row` of each cell's last row, shape [c]."""
        return np.append(self.start[1:], len(self.row)) - 1


class Ring:
    """Buckets of all keys, by slot. Row 0 is never written, for keys without a slot."""

    def __init__(self, plan: RingPlan) -> None:
        self.plan = plan
        self.number = np.full((1, plan.buckets), NO_BUCKET, np.int64)
        self.content = np.tile(plan.neutral, (1, plan.buckets, 1))
        columns = [column.statistic for column in plan.columns]
        least = sum(s in (Statistic.COUNT, Statistic.SUM) for s in columns)
        greatest = least + columns.count(Statistic.MIN)
        folds = (np.add, 0, least), (np.minimum, least, greatest), (np.maximum, greatest, len(columns))
        self.folds = [(ufunc, slice(start, end)) for ufunc, start, end in folds if start < end]

    def grow(self, used: int, capacity: int) -> None:
        """Have room for this many slots; keep those in use."""
        for name in ("number", "content"):
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[:used] = old[:used]
            setattr(self, name, new)

    def at(self, held: Int, number: Int) -> Float:
        """What these buckets of these rows hold, shape [..., columns]."""
        place = number % self.plan.buckets
        known = self.number[held, place] == number
        return np.where(known[..., None], self.content[held, place], self.plan.neutral)

    def kept(self, slots: Int, wanted: Bool) -> Places:
        """These buckets of slots; their keys are indices of `slots`. wanted: by place, shape [slots, buckets]."""
        key, place = np.nonzero(wanted)
        return Places(key, self.number[slots[key], place])

    def put(self, slot: Int, number: Int, content: Float) -> None:
        """Set buckets. Of one place that is set twice the last counts."""
        place = number % self.plan.buckets
        self.number[slot, place], self.content[slot, place] = number, content

    def combine(self, into: Float, other: Float) -> None:
        """Add what other buckets hold to these, in place; shapes [..., columns]."""
        for ufunc, columns in self.folds:
            part = into[..., columns]
            ufunc(part, other[..., columns], out=part)


class StagedRing:
    """A ring beside the rows of a batch. Nothing is computed before it is asked for."""

    def __init__(self, ring: Ring, rows: Rows) -> None:
        self.ring, self.rows = ring, rows
        plan = ring.plan
        self._bucket = rows.time // plan.bucket_ms
        self.current = rows.newest // plan.bucket_ms
        self.counted = rows.counted & (self._bucket > self.current - plan.buckets)
        self._low = int(self._bucket[self.counted].min(initial=np.iinfo(np.int64).max))
        self._span = max(int(self._bucket[self.counted].max(initial=self._low)) - self._low + 1, 1)

    @cached_property
    def cells(self) -> Cells:
        """What the batch adds."""
        rows, ring = self.rows, self.ring
        at = np.flatnonzero(self.counted)
        code = rows.group[at] * self._span + self._bucket[at] - self._low
        order = np.argsort(code, kind="stable")
        code, row = code[order], at[order]
        first = np.ones(len(row), np.bool_)
        first[1:] = code[1:] != code[:-1]
        start = np.flatnonzero(first)
        content = self._of_one(row)
        before = ring.at(rows.held[row[start]], self._bucket[row[start]])
        ring.combine(before, content[start])
        content[start] = before
        for ufunc, columns in ring.folds:
            accumulate(ufunc, content[:, columns], start)
        return Cells(code[start], rows.group[row[start]], self._bucket[row[start]], start, row, content)

    def _of_one(self, row: Int) -> Float:
        """Statistics of each of these readings alone, shape [m, columns]."""
        out = np.empty((len(row), len(self.ring.plan.columns)))
        for i, column in enumerate(self.ring.plan.columns):
            values = self.rows.values[row, column.selection]
            if column.statistic == Statistic.COUNT:
                out[:, i] = ~np.isnan(values)
            else:
                out[:, i] = np.where(np.isnan(values), self.ring.plan.neutral[i], values)
        return out

    @cached_property
    def own(self) -> Bool:
        """Whether the reading counts in the newest bucket of its key, shape [n]. Few do not."""
        own: Bool = self.counted & (self._bucket == self.current)
        return own

    @cached_property
    def _begins(self) -> Bool:
        """Whether, at this row, another bucket than the newest may differ from the row before, shape [n]."""
        begins = self.rows.first | ~self.own
        begins[1:] |= self.current[1:] != self.current[:-1]
        return begins

    @cached_property
    def stretch(self) -> Int:
        """Number of the row's stretch, in which only the newest bucket changes, shape [n]."""
        return np.cumsum(self._begins) - 1

    @cached_property
    def stretch_row(self) -> Int:
        """First row of each stretch, shape [v]."""
        return np.flatnonzero(self._begins)

    @cached_property
    def newest_content(self) -> Float:
        """The newest bucket of each row's key after the row, shape [n, columns]."""
        cells = self.cells
        content = np.empty((len(self.rows.group), len(self.ring.plan.columns)))
        content[cells.row] = cells.content
        others = np.flatnonzero(~self.own)
        if len(others):
            number, buckets = self.buckets_after(others)
            each, place = np.arange(len(others)), self.current[others] % self.ring.plan.buckets
            known = number[each, place] == self.current[others]
            content[others] = np.where(known[:, None], buckets[each, place], self.ring.plan.neutral)
        return content

    def chunks(self) -> list[Int]:
        """Numbers of stretches, as many together as memory should hold."""
        size = max(_CHUNK // (self.ring.plan.buckets * max(len(self.ring.plan.columns), 1)), 1)
        count = len(self.stretch_row)
        return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]

    def buckets_after(self, row: Int) -> tuple[Int, Float]:
        """The buckets of the row's key right after it, by place: numbers [rows, buckets], and what they hold.

        Args:
            row: rows at which a stretch begins.
        """
        rows, cells, ring = self.rows, self.cells, self.ring
        number, content = ring.number[rows.held[row]], ring.content[rows.held[row]]
        # What the batch has changed up to this row. The first row of a key has changed no bucket but the newest.
        changed = np.flatnonzero(~(rows.first[row] & self.own[row]))
        if not (len(changed) and len(cells.code)):
            return number, content
        bucket = self.current[row[changed]][:, None] - np.arange(ring.plan.buckets)
        wanted = bucket - self._low
        code = rows.group[row[changed]][:, None] * self._span + wanted
        cell = np.minimum(np.searchsorted(cells.code, code), len(cells.code) - 1)
        which, back = np.nonzero((cells.code[cell] == code) & (wanted >= 0) & (wanted < self._span))
        cell, bucket, count = cell[which, back], bucket[which, back], len(rows.group)
        added = np.repeat(np.arange(len(cells.code)), np.diff(cells.start, append=len(cells.row))) * count + cells.row
        last = np.searchsorted(added, cell * count + row[changed][which], "right") - 1
        before = np.flatnonzero(last >= cells.start[cell])
        at = changed[which[before]], bucket[before] % ring.plan.buckets
        number[at], content[at] = bucket[before], cells.content[last[before]]
        return number, content
