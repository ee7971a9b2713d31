"""A batch beside the aggregates of its keys: their values for each reading, and what it adds once it is merged."""

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.aggregate_features import ring_features, times_since
from worker.windows.aggregates import Kind
from worker.windows.ring import NO_BUCKET, Buckets, Places, Rows, StagedRing
from worker.windows.segments import accumulate

if TYPE_CHECKING:
    from worker.windows.aggregate_state import AggregateState


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


class StagedAggregates:
    """A batch beside the aggregates of its keys. Use it before `merge`.

    Attributes:
        row: row in the batch of each touched key's last reading, shape [t].
        slot: slots of these keys, negative for new ones, shape [t].
        times: what is kept of them after the batch.
    """

    def __init__(self, state: "AggregateState", slot: Int, offset: Int, ts: Int, clock: Int, values: Float) -> None:
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
    def gone(self) -> list[Places]:
        """Buckets that the batch moves out of all windows, by ring. Their keys are indices of `slot`."""
        return [self._gone(staged) for staged in self._rings]

    def _gone(self, staged: StagedRing) -> Places:
        ring, final, slots = staged.ring, self._final, np.maximum(self.slot, 0)
        number = ring.number[slots]
        forgotten = self._rows.held[final] != slots
        out = number <= (staged.current[final] - ring.plan.buckets)[:, None]
        return ring.kept(slots, (number != NO_BUCKET) & (out | forgotten[:, None]))
