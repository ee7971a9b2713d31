"""The windows of all keys: accept readings in order, stage what a batch adds, merge it once it is committed.

Two times count. A reading's `ts` is the device's. Its `clock` is the partition's *stream time* on arrival: the
latest `ts` seen so far in the partition. A device whose clock lags by an hour still has a window, for its own
readings are compared by `ts` with each other only; and everything is forgotten once the stream time has moved
on by `max_span_ms`. So what a reading does depends on arrivals within `REBUILD_SPANS * max_span_ms` of stream
time before it and on nothing older: that much of the log rebuilds the state bit for bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from worker.acceptance import Arrivals, judge
from worker.features import (
    LONGEST_MS,
    NEVER,
    Bool,
    FeatureSpec,
    Float,
    Int,
    Timeline,
    readings_in_windows,
    rolling_features,
)

# Whether a reading is accepted looks back one span, and a window one span further.
REBUILD_SPANS = 2


class KeyedState:
    """Window state of keys, each held in a *slot* (a row of the arrays below). Slots are reused after `free`."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.rolling = [spec.sensors.index(c) for c in spec.rolling]
        self.differences = [spec.sensors.index(c) for c in spec.differences]
        self._free: list[int] = []
        self._used = 0  # slots from here on were never given out, and their memory never touched
        self._others: dict[int, Arrivals] = {}
        size, sensors = spec.max_readings, len(spec.sensors)
        self.newest_ts = np.empty(0, np.int64)  # latest ts among recent arrivals, and when that arrived
        self.newest_clock = np.empty(0, np.int64)
        self.last_ts = np.empty(0, np.int64)  # of the reading accepted last
        self.last_clock = np.empty(0, np.int64)
        # The readings accepted last, oldest first; how much older than the last each is, ms, at most LONGEST_MS.
        self.age_ts = np.empty((0, size), np.uint32)
        self.age_clock = np.empty((0, size), np.uint32)
        self.rolled = np.empty((0, len(self.rolling), size))
        self.known_age = np.empty((0, sensors), np.int32)  # readings accepted since one had the sensor, at most size
        self.known_value = np.empty((0, sensors))

    _TIMES = ("newest_ts", "newest_clock", "last_ts", "last_clock")
    _AGES = ("age_ts", "age_clock")
    _FIELDS = (*_TIMES, *_AGES, "rolled", "known_age", "known_value")

    def allocate(self, count: int) -> Int:
        """Slots for so many new keys, shape [count], none of which has a reading."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        end = self._used + count - len(again)
        if end > len(self.last_ts):
            self._grow(max(64, 2 * len(self.last_ts), end))
        slots = np.concatenate((np.array(again, np.int64), np.arange(self._used, end)))
        self._used = end
        for name in self._TIMES:
            getattr(self, name)[slots] = NEVER
        for name in self._AGES:
            getattr(self, name)[slots] = LONGEST_MS
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
            self._others.pop(slot, None)
        self._free.extend(slots)

    @property
    def held(self) -> int:
        """Keys with a window."""
        return self._used - len(self._free)

    def window(self, slot: int) -> dict[str, Any]:
        """A key's window for a person to read: event times and rolled sensors (scaled), oldest first."""
        ts, clock = self.last_ts[slot] - self.age_ts[slot], self.last_clock[slot] - self.age_clock[slot]
        inside = ts > self.newest_ts[slot] - self.spec.max_span_ms
        inside &= clock > self.newest_clock[slot] - self.spec.max_span_ms
        columns = {
            c: [None if np.isnan(v) else v for v in rolled[inside].tolist()]
            for c, rolled in zip(self.spec.rolling, self.rolled[slot], strict=True)
        }
        return {"ts": ts[inside].tolist(), **columns}

    def expired(self, slots: Int, clock: int) -> Bool:
        """Which of these keys can be freed at this stream time without changing any later result, shape [n]."""
        horizon = clock - self.spec.max_span_ms
        waiting = [s for s, arrivals in self._others.items() if any(arrived > horizon for _, arrived in arrivals)]
        return (self.newest_clock[slots] <= horizon) & ~np.isin(slots, waiting)

    def stage(self, slot: Int, ts: Int, clock: Int, values: Float) -> "Staged":
        """What a batch would add, leaving the state as it is.

        Args:
            slot: slot of each reading's key, shape [n], readings of a key in the order of their offsets.
            ts: event time, ms, shape [n].
            clock: stream time of the reading's partition, this reading included, ms, shape [n].
            values: sensors scaled for features, NaN where missing, shape [n, sensors].
        """
        order = np.argsort(slot, kind="stable")
        verdicts = judge(
            slot[order],
            ts[order],
            clock[order],
            self.newest_ts,
            self.newest_clock,
            self._others,
            self.spec.max_span_ms,
        )
        kept = order[verdicts.accepted]
        return Staged(
            self,
            kept,
            order[verdicts.duplicate],
            order[verdicts.late],
            slot[kept],
            ts[kept],
            clock[kept],
            values[kept],
            verdicts.refusing,
        )

    def merge(self, staged: "Staged") -> None:
        """Make a staged batch part of the state."""
        s, size = staged, self.spec.max_readings
        last = s.last_of_group
        for key in s.slot[last].tolist() if self._others else []:
            self._others.pop(key, None)
        self.newest_ts[s.slot[last]] = s.ts[last]
        self.newest_clock[s.slot[last]] = s.clock[last]
        for key, arrivals in s.refusing.items():
            self.newest_ts[key], self.newest_clock[key] = arrivals[0]
            self._others.pop(key, None)
            if arrivals[1:]:
                self._others[key] = arrivals[1:]
        slots, timeline, ends = s.slot[last], s.timeline, s.position[last] - size + 1
        self.last_ts[slots], self.last_clock[slots] = s.ts[last], s.clock[last]
        self.age_ts[slots] = _age(sliding_window_view(timeline.ts, size)[ends])
        self.age_clock[slots] = _age(sliding_window_view(timeline.clock, size)[ends])
        self.rolled[slots] = sliding_window_view(timeline.rolled, size, axis=1)[:, ends].transpose(1, 0, 2)
        row = s.last_known_row[last]  # [groups, sensors], or -1
        held = np.minimum(self.known_age[slots] + s.group_size[:, None], size)
        self.known_age[slots] = np.where(row >= 0, last[:, None] - row, held)
        group, sensor = np.nonzero(row >= 0)
        self.known_value[slots[group], sensor] = s.values[row[group, sensor], sensor]


def _age(times: Int) -> Int:
    """How much older than the last of its row each time is, ms, at most LONGEST_MS."""
    age = times[:, -1:] - times
    # A device set back in time: all that was before is out of any window by the stream time.
    return np.where((age < 0) | (age > LONGEST_MS), LONGEST_MS, age)


@dataclass
class Staged:
    """A batch judged against the state. Rows are those of accepted readings, sorted by slot, then offset.

    Attributes:
        row: row in the batch given to `stage`, shape [m].
        duplicate: rows dropped because the key's newest reading has the same ts.
        late: rows refused because it has a later one.
    """

    state: KeyedState
    row: Int
    duplicate: Int
    late: Int
    slot: Int
    ts: Int
    clock: Int
    values: Float
    refusing: dict[int, Arrivals]

    @cached_property
    def _first(self) -> Bool:
        first = np.ones(len(self.slot), np.bool_)
        first[1:] = self.slot[1:] != self.slot[:-1]
        return first

    @cached_property
    def group(self) -> Int:
        """Number of the row's key among the keys touched, shape [m]."""
        return np.cumsum(self._first) - 1

    @cached_property
    def group_size(self) -> Int:
        """New readings of each key touched, shape [g]."""
        return np.bincount(self.group) if len(self.group) else np.empty(0, np.int64)

    @cached_property
    def last_of_group(self) -> Int:
        """Row of each touched key's newest reading, shape [g]."""
        return np.cumsum(self.group_size) - 1

    @cached_property
    def last_known_row(self) -> Int:
        """Row of the key's last reading in this batch, up to this one, that has the sensor; -1: none. [m, sensors]."""
        rows = np.where(np.isnan(self.values), -1, np.arange(len(self.slot))[:, None])
        known = np.maximum.accumulate(rows, axis=0)
        known[known < self._first_of_group[:, None]] = -1
        return known

    @cached_property
    def _first_of_group(self) -> Int:
        """Row of the first new reading of the row's key, shape [m]."""
        return (self.last_of_group - self.group_size + 1)[self.group]

    @cached_property
    def position(self) -> Int:
        """Place of each row in the timeline, shape [m]."""
        return np.arange(len(self.slot)) + (self.group + 1) * self.state.spec.max_readings

    @cached_property
    def timeline(self) -> Timeline:
        """What is held of each touched key, then its new readings."""
        state, size = self.state, self.state.spec.max_readings
        slots = self.slot[self.last_of_group]
        begin = self.position[self.last_of_group] - self.group_size + 1 - size
        length = len(self.slot) + max(len(slots), 1) * size
        ts, clock = np.empty(length, np.int64), np.empty(length, np.int64)
        rolled = np.empty((len(state.rolling), length))
        # Through a view of windows each key's past is copied as a piece.
        sliding_window_view(ts, size, writeable=True)[begin] = state.last_ts[slots, None] - state.age_ts[slots]
        sliding_window_view(clock, size, writeable=True)[begin] = state.last_clock[slots, None] - state.age_clock[slots]
        sliding_window_view(rolled, size, axis=1, writeable=True)[:, begin] = state.rolled[slots].transpose(1, 0, 2)
        ts[self.position], clock[self.position] = self.ts, self.clock
        rolled[:, self.position] = self.values[:, state.rolling].T
        return Timeline(ts, clock, rolled)

    @cached_property
    def in_window(self) -> Int:
        """Readings in the window that ends at each row, shape [m]."""
        return readings_in_windows(self.state.spec, self.timeline, self.position)

    @cached_property
    def _filled(self) -> Float:
        """Sensors forward-filled within the row's window, shape [m, sensors]."""
        row, sensor = np.nonzero(np.isnan(self.values))
        filled = self.values.copy()
        filled[row, sensor] = self._last_known(row, sensor, self.last_known_row[row, sensor])
        return filled

    def _previous(self) -> Float:
        """Sensors with differences, forward-filled within the row's window up to the row before, [m, differences]."""
        before = np.full((len(self.slot), len(self.state.differences)), np.nan)
        before[1:] = self.values[:-1, self.state.differences]
        before[self._first] = np.nan
        row, column = np.nonzero(np.isnan(before) | (self.in_window < 2)[:, None])
        sensor = np.array(self.state.differences, np.int64)[column]
        known = np.where(self._first[row], -1, self.last_known_row[row - 1, sensor])
        before[row, column] = self._last_known(row, sensor, known)
        return before

    def _last_known(self, row: Int, sensor: Int, known: Int) -> Float:
        """Value of the sensor at row `known` of the batch, or the one held if that is -1; NaN if out of the window."""
        state, slot = self.state, self.slot[row]
        age = np.where(known >= 0, row - known, row - self._first_of_group[row] + 1 + state.known_age[slot, sensor])
        value = np.where(known >= 0, self.values[known, sensor], state.known_value[slot, sensor])
        return np.where(age < self.in_window[row], value, np.nan)

    @cached_property
    def imputed(self) -> Bool:
        """Sensors that were missing and filled from the window, shape [m, sensors]."""
        return np.isnan(self.values) & ~np.isnan(self._filled)

    def features(self) -> Float:
        """Features of each row, shape [m, f], in the order of `FeatureSpec.names`. Call before `merge`."""
        change = self._filled[:, self.state.differences] - self._previous()
        rolling = rolling_features(self.state.spec, self.timeline, self.position, self.in_window)
        return np.concatenate((self._filled, change, rolling), axis=1)
