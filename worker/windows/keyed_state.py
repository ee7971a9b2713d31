"""The windows of all keys: filter readings, stage what a batch adds, merge it once it is committed.

Two times count. A reading's `ts` is the device's. Its `clock` is the partition's *stream time* on arrival: the
latest `ts` seen so far in the partition, none of them counted as later than its Kafka timestamp. A device whose clock
lags by an hour still has a window, for its own readings are compared by `ts` with each other only. By stream time
everything is forgotten: a window holds what arrived within `max_span_ms`, and whether a reading was accepted looks
back two times the lateness further (late_filter.py). What a reading does depends on nothing older: that much of
the log (`rebuild_span_ms`) rebuilds the state bit for bit.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.feature_spec import LONGEST_MS, FeatureSpec
from worker.windows.late_filter import Arrivals, Content, content_of, sort_arrivals
from worker.windows.staged import Staged

REBUILD_SPANS = 2
EMPTY = 0
"""Row of the state that belongs to no key. A key without a slot reads it."""
_MARGIN_MS = 60_000
MOST_FUTURE_MS = LONGEST_MS - _MARGIN_MS
"""The largest `max_future_ms`. Ages are kept up to `LONGEST_MS`, and the lateness must not be longer."""


def lateness_ms(spec: FeatureSpec, max_future_ms: int) -> int:
    """By how much a reading may be older than its key's newest and still be scored, ms.

    More than a device's clock may be ahead: then a reading from a clock that was, or was said to be, makes no reading
    late that is on time. With half a span, a rebuild takes two spans.

    Args:
        spec: the features.
        max_future_ms: how far ahead of its Kafka timestamp a reading may be.
    """
    return max(spec.max_span_ms // 2, max_future_ms + _MARGIN_MS)


def rebuild_span_ms(spec: FeatureSpec, lateness_ms: int) -> int:
    """The `REBUILD_SPANS`th part of the stream time that a rebuild goes back, ms: the span, more for short ones."""
    return -(-(spec.max_span_ms + 2 * lateness_ms) // REBUILD_SPANS)


def rebuild_reach_ms(spec: FeatureSpec, max_future_ms: int) -> int:
    """How far back the records that a rebuild of windows needs may lie, by their Kafka timestamps, ms.

    Args:
        spec: the features.
        max_future_ms: how far ahead of its Kafka timestamp a reading may be.
    """
    return REBUILD_SPANS * rebuild_span_ms(spec, lateness_ms(spec, max_future_ms)) + max_future_ms


class KeyedState:
    """Window state of keys, each held in a *slot* (a row of the arrays below). Slots are reused after `free`.

    Args:
        spec: the features.
        lateness_ms: see `lateness_ms`; by default half a span.
    """

    def __init__(self, spec: FeatureSpec, lateness_ms: int | None = None) -> None:
        self.spec = spec
        self.lateness_ms = spec.max_span_ms // 2 if lateness_ms is None else lateness_ms
        self.kept = [spec.sensors.index(c) for c in spec.kept]
        self.changes = [spec.sensors.index(c) for c in (*spec.differences, *spec.rates)]
        self._free: list[int] = []
        self._used = 1  # slots from here on were never given out, and their memory never touched
        # Arrivals of disordered keys: those for which the accepted readings are not enough to check the next one.
        self._arrivals: dict[int, Arrivals] = {}
        size, sensors = spec.max_readings, len(spec.sensors)
        # The first row of each array is `EMPTY`, for keys without a slot.
        self.disordered = np.zeros(1, np.bool_)
        self.last_ts = np.full(1, NEVER)  # of the reading accepted last
        self.last_clock = np.full(1, NEVER)
        # The readings accepted last, oldest first; how much older than the last each arrived, ms, at most LONGEST_MS.
        self.ts = np.full((1, size), NEVER)
        self.age_clock = np.full((1, size), LONGEST_MS, np.uint32)
        self.content = np.zeros((1, size), np.uint32)
        self.rolled = np.zeros((1, len(self.kept), size))
        self.known_age = np.full((1, sensors), size, np.int32)  # readings accepted since one had the sensor, <= size
        self.known_value = np.zeros((1, sensors))

    _NEVER = ("last_ts", "last_clock", "ts")
    _FIELDS = (*_NEVER, "disordered", "age_clock", "content", "rolled", "known_age", "known_value")

    @property
    def rebuild_span_ms(self) -> int:
        """See `rebuild_span_ms`."""
        return rebuild_span_ms(self.spec, self.lateness_ms)

    def allocate(self, count: int) -> Int:
        """Slots for this many new keys, shape [count], none of which has a reading."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        end = self._used + count - len(again)
        if end > len(self.last_ts):
            self._grow(max(64, 2 * len(self.last_ts), end))
        slots = np.concatenate((np.array(again, np.int64), np.arange(self._used, end)))
        self._used = end
        for name in self._NEVER:
            getattr(self, name)[slots] = NEVER
        self.disordered[slots] = False
        self.age_clock[slots] = LONGEST_MS
        self.known_age[slots] = self.spec.max_readings
        return slots

    def _grow(self, capacity: int) -> None:
        # One array after the other, so that only one of them is ever there twice.
        for name in self._FIELDS:
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[: self._used] = old[: self._used]
            setattr(self, name, new)

    def free(self, slots: Iterable[int]) -> None:
        """Forget these keys. Their slots are given out again before any new memory is."""
        slots = list(slots)
        for slot in slots:
            self._arrivals.pop(slot, None)
        self._free.extend(slots)

    @property
    def held(self) -> int:
        """Keys with a window."""
        return self._used - 1 - len(self._free)

    def window(self, slot: int) -> dict[str, Any]:
        """A key's window for a person to read: event times and kept sensors (scaled), in the order of arrival."""
        ts, age = self.ts[slot], self.age_clock[slot]
        inside = (ts > self.last_ts[slot] - self.spec.max_span_ms) & (age < self.spec.max_span_ms)
        window = slice(int(inside.argmax()) if inside.any() else len(ts), None)
        columns = {
            c: [None if np.isnan(v) else v for v in rolled[window].tolist()]
            for c, rolled in zip(self.spec.kept, self.rolled[slot], strict=True)
        }
        return {"ts": ts[window].tolist(), **columns}

    def expired(self, slots: Int, clock: int) -> Bool:
        """Which of these keys can be freed at this stream time without changing any later result, shape [n]."""
        horizon = clock - max(self.spec.max_span_ms, self.lateness_ms)
        waiting = [slot for slot, arrivals in self._arrivals.items() if arrivals.clock[-1] > horizon]
        return (self.last_clock[slots] <= horizon) & ~np.isin(slots, waiting)

    def _recall(self, slot: int) -> Arrivals:
        """What is remembered of a key (late_filter.py)."""
        if (arrivals := self._arrivals.get(slot)) is not None:
            return arrivals
        slot = max(slot, EMPTY)
        held = np.flatnonzero(self.age_clock[slot] < LONGEST_MS)
        clock = self.last_clock[slot] - self.age_clock[slot, held]
        never, ever = np.zeros(len(held), np.bool_), np.ones(len(held), np.bool_)
        return Arrivals(self.ts[slot, held], clock, self.content[slot, held], never, ever)

    def stage(self, slot: Int, ts: Int, clock: Int, values: Float, texts: Content | None = None) -> Staged:
        """What a batch would add, leaving the state as it is.

        Args:
            slot: slot of each reading's key, shape [n], readings of a key in the order of their offsets. Keys without
                a slot have -1, -2 and so on; they get one in `merge`.
            ts: event time, ms, shape [n].
            clock: stream time of the reading's partition, this reading included, ms, shape [n].
            values: sensors scaled for features, NaN where missing, shape [n, sensors].
            texts: a number for all other contents of a reading, shape [n]; None: there are none.
        """
        order = np.argsort(slot, kind="stable")
        content = content_of(values)
        if texts is not None:
            content ^= texts
        held = np.maximum(slot, EMPTY)[order]
        found = sort_arrivals(
            slot[order],
            (ts[order], clock[order], content[order]),
            self.last_ts[held],
            self.disordered[held],
            self._recall,
            self.lateness_ms,
            self.spec.max_readings,
        )
        kept = order[found.accepted]
        return Staged(
            self,
            kept,
            order[found.duplicate],
            order[found.late],
            slot[kept],
            ts[kept],
            clock[kept],
            content[kept],
            values[kept],
            found.arrivals,
            max(-int(slot.min(initial=0)), 0),
        )

    def merge(self, staged: Staged) -> Int:
        """Make a staged batch part of the state.

        Returns:
            Slots of the keys that had none: of -1, -2 and so on, shape [k].
        """
        s, size = staged, self.spec.max_readings
        last = s.last_of_group
        timeline, ends, contents = s.timeline, s.position[last] - size + 1, s.contents()
        new = self.allocate(s.new)
        slots = s.slot[last]
        without = slots < 0
        slots[without] = new[-1 - slots[without]]
        for key, arrivals in s.arrivals.items():
            slot = key if key >= 0 else int(new[-1 - key])
            self.disordered[slot] = arrivals is not None
            if arrivals is not None:
                self._arrivals[slot] = arrivals
            else:
                self._arrivals.pop(slot, None)
        self.last_ts[slots], self.last_clock[slots] = s.ts[last], s.clock[last]
        self.ts[slots] = sliding_window_view(timeline.ts, size)[ends]
        clock = sliding_window_view(timeline.clock, size)[ends]
        self.age_clock[slots] = np.minimum(clock[:, -1:] - clock, LONGEST_MS)
        self.content[slots] = contents[ends]
        self.rolled[slots] = sliding_window_view(timeline.rolled, size, axis=1)[:, ends].transpose(1, 0, 2)
        row = s.last_known_row[last]  # [groups, sensors], or -1
        held = np.minimum(self.known_age[slots] + s.group_size[:, None], size)
        self.known_age[slots] = np.where(row >= 0, last[:, None] - row, held)
        group, sensor = np.nonzero(row >= 0)
        self.known_value[slots[group], sensor] = s.values[row[group, sensor], sensor]
        return new
