"""Aggregates of all keys: stage what a batch adds, merge it once it is committed, restore it from records.

Like windows (keyed_state.py), aggregates know two times. A reading counts at its own event time, but at most at the
stream time of its arrival: a clock that is ahead moves no window into the future. A key's windows end at the newest of
these times. By stream time a key is forgotten, once it has sent nothing for as long as the longest window is.
"""

from collections.abc import Iterable

import numpy as np

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.aggregates import Layout
from worker.windows.ring import NO_BUCKET, Places, Ring
from worker.windows.staged_aggregates import KeyTimes, StagedAggregates


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

    def buckets(self, slots: Int) -> list[Places]:
        """All buckets of these keys, by ring; their keys are indices of `slots`."""
        return [ring.kept(slots, ring.number[slots] != NO_BUCKET) for ring in self.rings]

    def restore(self, ring: int, slots: Int, number: Int, content: Float, times: KeyTimes) -> Places:
        """Set buckets, and the times of their keys, as records say them, in the order in which they were written.

        Returns:
            Buckets for which there is no room, as the ring was longer when they were written; their keys are slots.
        """
        for column, restored in zip(self._times, times, strict=True):
            column[slots] = restored
        numbers, place = self.rings[ring].number, number % self.rings[ring].plan.buckets
        before = numbers[slots, place]
        # Where two have the same place, the newer one is put last.
        order = np.argsort(number, kind="stable")
        order = order[number[order] >= before[order]]
        self.rings[ring].put(slots[order], number[order], content[order])
        after = numbers[slots, place]
        replaced, late = (before != NO_BUCKET) & (before != after), number != after
        return Places(np.concatenate((slots[replaced], slots[late])), np.concatenate((before[replaced], number[late])))

    def outside(self, ring: int, slots: Int) -> Places:
        """Restored buckets of these keys that are outside of the ring; they are dropped. Their keys are slots."""
        numbers, plan = self.rings[ring].number, self.rings[ring].plan
        newest = self._times.newest[slots] // plan.bucket_ms
        found = self.rings[ring].kept(
            slots, (numbers[slots] != NO_BUCKET) & (numbers[slots] <= (newest - plan.buckets)[:, None])
        )
        numbers[slots[found.key], found.number % plan.buckets] = NO_BUCKET
        return Places(slots[found.key], found.number)

    def clear(self, ring: int, slots: Int, number: Int) -> None:
        """Forget buckets, as their records were deleted."""
        numbers, place = self.rings[ring].number, number % self.rings[ring].plan.buckets
        held = numbers[slots, place] == number
        numbers[slots[held], place[held]] = NO_BUCKET

    def stage(self, slot: Int, offset: Int, ts: Int, clock: Int, values: Float) -> StagedAggregates:
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

    def merge(self, staged: StagedAggregates) -> Int:
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
