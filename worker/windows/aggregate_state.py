"""Aggregates of all keys: stage what a batch adds, merge it once it is committed, restore it from records.

Like windows (keyed_state.py), aggregates know two times. A reading counts at its own event time, but at most at the
stream time of its arrival: a clock that is ahead moves no window into the future. A key's windows end at the newest of
these times. By stream time a key is forgotten, once it has sent nothing for as long as the longest window is.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.aggregate_features import ring_features, times_since
from worker.windows.aggregates import Kind, Layout
from worker.windows.ring import NO_BUCKET, Ring, Rows, StagedRing
from worker.windows.segments import accumulate


class KeyTimes(NamedTuple):
    """What is kept of keys besides their buckets. Shapes [n], last [n, selections with a latest time].

    Attributes:
        newest: newest event time, ms.
        clock: stream time when the key's last reading arrived, ms.
        next_offset: behind the last reading that was counted. Earlier ones are not counted again.
        last: newest event time of selected readings, ms.
    """

    newest: Int
    clock: Int
    next_offset: Int
    last: Int

    def take(self, rows: Int) -> "KeyTimes":
        """Some of them."""
        return KeyTimes(*(column[rows] for column in self))


class Buckets(NamedTuple):
    """Buckets of keys: index of the key (or its slot), number of the bucket, content. Shapes [n], [n], [n, columns]."""

    key: Int
    number: Int
    content: Float


class AggregateState:
    """Aggregates of keys, each held in a *slot* (a row of the arrays). Slots are reused after `free`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rings = [Ring(plan) for plan in layout.rings]
        self._free: list[int] = []
        self._used = 1  # row 0 belongs to no key
        self._times = self._no_times(1)

    def _no_times(self, count: int) -> KeyTimes:
        never = np.full(count, NEVER)
        return KeyTimes(never, never.copy(), np.zeros(count, np.int64), np.full((count, len(self.layout.last)), NEVER))

    @property
    def held(self) -> int:
        """Keys with aggregates."""
        return self._used - 1 - len(self._free)

    def times(self, slots: Int) -> KeyTimes:
        """What is kept of these keys besides their buckets."""
        return self._times.take(slots)

    def allocate(self, count: int) -> Int:
        """Slots for this many new keys, shape [count]."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        end = self._used + count - len(again)
        if end > len(self._times.newest):
            capacity = max(64, 2 * len(self._times.newest), end)
            for ring in self.rings:
                ring.grow(self._used, capacity)
            grown = self._no_times(capacity)
            for new, old in zip(grown, self._times, strict=True):
                new[: self._used] = old[: self._used]
            self._times = grown
        slots = np.concatenate((np.array(again, np.int64), np.arange(self._used, end)))
        self._used = end
        for column, empty in zip(self._times, self._no_times(1), strict=True):
            column[slots] = empty
        for ring in self.rings:
            ring.number[slots] = NO_BUCKET
        return slots

    def free(self, slots: Iterable[int]) -> None:
        """Forget these keys."""
        self._free.extend(slots)

    def expired(self, slots: Int, clock: int) -> Bool:
        """Which of these keys are forgotten at this stream time: without them nothing changes, shape [n]."""
        return self._times.clock[slots] <= clock - self.layout.longest_ms

    def buckets(self, slots: Int) -> list[Buckets]:
        """All buckets of these keys, by ring; their keys are indices of `slots`."""
        return [self._kept(ring, slots, ring.number[slots] != NO_BUCKET) for ring in self.rings]

    @staticmethod
    def _kept(ring: Ring, slots: Int, wanted: Bool) -> Buckets:
        key, place = np.nonzero(wanted)
        return Buckets(key, ring.number[slots[key], place].astype(np.int64), ring.content[slots[key], place])

    def restore(self, ring: int, slots: Int, number: Int, content: Float, times: KeyTimes) -> None:
        """Set buckets, and the times of their keys, as records say them, in the order in which they were written."""
        self.rings[ring].put(slots, number, content)
        for column, restored in zip(self._times, times, strict=True):
            column[slots] = restored

    def clear(self, ring: int, slot: int, number: int) -> None:
        """Forget a bucket, as its record was deleted."""
        place = number % self.rings[ring].plan.buckets
        if self.rings[ring].number[slot, place] == number:
            self.rings[ring].number[slot, place] = NO_BUCKET

    def stage(self, slot: Int, offset: Int, ts: Int, clock: Int, values: Float) -> "StagedAggregates":
        """What a batch would add, leaving the state as it is.

        Args:
            slot: slot of each reading's key, shape [n], readings of a key in the order of their offsets. Keys without
                a slot have -1, -2 and so on; they get one in `merge`.
            offset: of each reading, shape [n].
            ts: event time, ms, shape [n].
            clock: stream time of the reading's partition, this reading included, ms, shape [n].
            values: by selection (`Layout.selections`), NaN where a reading is not selected, shape [n, selections].
        """
        return StagedAggregates(self, slot, offset, ts, clock, values)

    def merge(self, staged: "StagedAggregates") -> Int:
        """Make a staged batch part of the state.

        Returns:
            Slots of the keys that had none: of -1, -2 and so on, shape [k].
        """
        written, gone = staged.written, staged.gone
        new = self.allocate(max(-int(staged.slot.min(initial=0)), 0))
        slots = staged.slot.copy()
        slots[slots < 0] = new[-1 - slots[slots < 0]]
        for ring, put, dropped in zip(self.rings, written, gone, strict=True):
            ring.number[slots[dropped.key], dropped.number % ring.plan.buckets] = NO_BUCKET
            ring.put(slots[put.key], put.number, put.content)
        for column, after in zip(self._times, staged.times, strict=True):
            column[slots] = after
        return new


class StagedAggregates:
    """A batch beside the aggregates of its keys. Use it before `merge`.

    Attributes:
        row: row in the batch of each touched key's last reading, shape [t].
        slot: slots of these keys, negative for new ones, shape [t].
        times: what is kept of them after the batch.
    """

    def __init__(self, state: AggregateState, slot: Int, offset: Int, ts: Int, clock: Int, values: Float) -> None:
        self.state = state
        self._order = order = np.argsort(slot, kind="stable")
        slot, offset, clock, values = slot[order], offset[order], clock[order], values[order]
        before = state.times(np.maximum(slot, 0))
        counted = offset >= before.next_offset
        first_of_key = np.ones(len(slot), np.bool_)
        first_of_key[1:] = slot[1:] != slot[:-1]
        first_counted = counted.copy()
        first_counted[1:] &= first_of_key[1:] | ~counted[:-1]
        clock_before = np.where(first_counted, before.clock, np.concatenate(([NEVER], clock[:-1]))[: len(clock)])
        forgotten = counted & (clock - clock_before >= state.layout.longest_ms)
        first = first_of_key | first_counted | forgotten
        start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
        held = np.where(forgotten, 0, np.maximum(slot, 0))[start]
        time = np.where(counted, np.minimum(ts[order], clock), NEVER)
        newest, self._last = self._running(first, held, time, values)
        self._rows = Rows(slot, np.cumsum(first) - 1, first, held, time, newest, counted, values)
        self._rings = [StagedRing(ring, self._rows) for ring in state.rings]
        # Of keys that are touched: the row after which the batch leaves them.
        final = np.append(first_of_key[1:], True) & counted if len(slot) else first_of_key
        self._final = np.flatnonzero(final)
        self.row, self.slot = order[self._final], slot[self._final]
        last = self._last[self._final]
        self.times = KeyTimes(newest[self._final], clock[self._final], offset[self._final] + 1, last)

    def _running(self, first: Bool, held: Int, time: Int, values: Float) -> tuple[Int, Int]:
        """Newest event time of each row's key after it, shape [n], and of its selected readings, shape [n, last]."""
        selected = ~np.isnan(values[:, list(self.state.layout.last)])
        times = np.column_stack((time, np.where(selected, time[:, None], NEVER)))
        start = np.flatnonzero(first)
        before = self.state.times(held[start])
        times[start] = np.maximum(times[start], np.column_stack((before.newest, before.last)))
        accumulate(np.maximum, times, start)
        return times[:, 0], times[:, 1:]

    @cached_property
    def features(self) -> Float:
        """Values of the aggregates, shape [n, aggregates], in the order of the batch and of `Layout.aggregates`."""
        layout, rows = self.state.layout, self._rows
        out = np.empty((len(rows.slot), len(layout.aggregates)))
        for staged in self._rings:
            which = [
                i
                for i, a in enumerate(layout.aggregates)
                if a.bucket_ms == staged.ring.plan.bucket_ms and a.kind != Kind.TIME_SINCE_LAST
            ]
            if which:
                out[self._order[:, None], which] = ring_features(
                    staged, layout.selections, [layout.aggregates[i] for i in which]
                )
        which = [i for i, a in enumerate(layout.aggregates) if a.kind == Kind.TIME_SINCE_LAST]
        if which:
            place = [layout.last.index(layout.selections.index(layout.aggregates[i].selection)) for i in which]
            before = np.roll(self._last, 1, axis=0)
            before[rows.first] = self.state.times(rows.held[rows.first]).last
            out[self._order[:, None], which] = times_since(
                [layout.aggregates[i] for i in which], rows.newest, before[:, place]
            )
        return out

    @cached_property
    def written(self) -> list[Buckets]:
        """Buckets after the batch, by ring: of each touched key the newest, and all others that changed.

        Their keys are indices of `slot`.
        """
        return [self._written(staged) for staged in self._rings]

    def _written(self, staged: StagedRing) -> Buckets:
        cells, final, buckets = staged.cells, self._final, staged.ring.plan.buckets
        newest = staged.current[final]
        # Only what was added since a key was forgotten last is kept of it.
        key = np.searchsorted(self._rows.group[final], cells.group)
        found = np.minimum(key, max(len(final) - 1, 0))
        kept = np.zeros(len(cells.code), np.bool_)
        if len(final):
            kept = self._rows.group[final][found] == cells.group
            kept &= (cells.number > newest[found] - buckets) & (cells.number != newest[found])
        return Buckets(
            np.concatenate((found[kept], np.arange(len(final)))),
            np.concatenate((cells.number[kept], newest)),
            np.concatenate((cells.content[cells.last[kept]], staged.newest_content[final])),
        )

    @cached_property
    def gone(self) -> list[Buckets]:
        """Buckets that the batch moves out of all windows, by ring. Their keys are indices of `slot`."""
        return [self._gone(staged) for staged in self._rings]

    def _gone(self, staged: StagedRing) -> Buckets:
        ring, final, slots = staged.ring, self._final, np.maximum(self.slot, 0)
        number = ring.number[slots]
        forgotten = self._rows.held[final] != slots
        out = number <= (staged.current[final] - ring.plan.buckets)[:, None]
        return self.state._kept(ring, slots, (number != NO_BUCKET) & (out | forgotten[:, None]))
