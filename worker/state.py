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

from worker.acceptance import Arrivals, judge
from worker.features import (
    NEVER,
    Bool,
    FeatureSpec,
    Float,
    Int,
    Timeline,
    Windows,
    rolling_features,
    windows_at,
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
        self.total = np.empty(0, np.int64)  # readings accepted so far; reading number q is in ring place q % size
        self.ring_ts = np.empty((0, size), np.int64)
        self.ring_clock = np.empty((0, size), np.int64)
        self.ring_rolled = np.empty((0, size, len(self.rolling)))
        self.known_number = np.empty((0, sensors), np.int64)  # number of the last reading that had the sensor
        self.known_value = np.empty((0, sensors))

    _TIMES = ("newest_ts", "newest_clock", "ring_ts", "ring_clock")
    _FIELDS = (*_TIMES, "total", "ring_rolled", "known_number", "known_value")

    def allocate(self, count: int) -> Int:
        """Slots for so many new keys, shape [count], none of which has a reading."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        end = self._used + count - len(again)
        if end > len(self.total):
            self._grow(max(64, 2 * len(self.total), end))
        slots = np.concatenate((np.array(again, np.int64), np.arange(self._used, end)))
        self._used = end
        for name in self._TIMES:
            getattr(self, name)[slots] = NEVER
        self.total[slots] = 0
        self.known_number[slots] = -1
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
        size = self.spec.max_readings
        place = (self.total[slot] + np.arange(size)) % size
        inside = self.ring_ts[slot, place] > self.newest_ts[slot] - self.spec.max_span_ms
        inside &= self.ring_clock[slot, place] > self.newest_clock[slot] - self.spec.max_span_ms
        rolled = self.ring_rolled[slot, place[inside]]
        columns = {
            c: [None if np.isnan(v) else v for v in rolled[:, i].tolist()] for i, c in enumerate(self.spec.rolling)
        }
        return {"ts": self.ring_ts[slot, place[inside]].tolist(), **columns}

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
        number = self.total[s.slot] + s.number_in_group
        recent_rows = np.flatnonzero(s.group_size[s.group] - s.number_in_group <= size)
        at = (s.slot[recent_rows], number[recent_rows] % size)
        self.ring_ts[at] = s.ts[recent_rows]
        self.ring_clock[at] = s.clock[recent_rows]
        self.ring_rolled[at] = s.values[recent_rows][:, self.rolling]
        where_known = s.last_known_row[last]  # [groups, sensors], row or -1
        group, sensor = np.nonzero(where_known >= 0)
        row = where_known[group, sensor]
        self.known_number[s.slot[row], sensor] = number[row]
        self.known_value[s.slot[row], sensor] = s.values[row, sensor]
        self.total[s.slot[last]] += s.group_size


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
    def number_in_group(self) -> Int:
        """0, 1, … within the row's key, shape [m]."""
        return np.arange(len(self.slot)) - (self.last_of_group - self.group_size + 1)[self.group]

    @cached_property
    def last_known_row(self) -> Int:
        """Row of the key's last reading in this batch, up to this one, that has the sensor; -1: none. [m, sensors]."""
        rows = np.where(np.isnan(self.values), -1, np.arange(len(self.slot))[:, None])
        latest = np.maximum.accumulate(rows, axis=0)
        start = (self.last_of_group - self.group_size + 1)[self.group]
        return np.where(latest >= start[:, None], latest, -1)

    @cached_property
    def _position(self) -> Int:
        # The timeline holds `max_readings` places of history before each key's new readings.
        return np.arange(len(self.slot)) + (self.group + 1) * self.state.spec.max_readings

    @cached_property
    def _timeline(self) -> Timeline:
        state, size = self.state, self.state.spec.max_readings
        slots = self.slot[self.last_of_group]
        place = (state.total[slots][:, None] + np.arange(size)) % size  # oldest first: the next to be overwritten
        length = len(self.slot) + len(slots) * size
        history = (
            (self.last_of_group - self.group_size + 1)[:, None]
            + np.arange(len(slots))[:, None] * size
            + np.arange(size)
        )
        ts, clock = np.empty(length, np.int64), np.empty(length, np.int64)
        rolled = np.empty((len(state.rolling), length))
        ts[history], ts[self._position] = state.ring_ts[slots[:, None], place], self.ts
        clock[history], clock[self._position] = state.ring_clock[slots[:, None], place], self.clock
        rolled[:, history] = state.ring_rolled[slots[:, None], place].transpose(2, 0, 1)
        rolled[:, self._position] = self.values[:, state.rolling].T
        return Timeline(ts, clock, rolled)

    @cached_property
    def windows(self) -> Windows:
        """The window that ends at each row."""
        return windows_at(self.state.spec, self._timeline, self._position)

    @cached_property
    def _filled(self) -> tuple[Float, Float]:
        """Each sensor forward-filled within the row's window: at the row, and at the one before it. [m, sensors]."""
        state = self.state
        slots, size = self.slot, state.spec.max_readings
        held_number = state.known_number[slots]
        # How many readings before its key's first new one the sensor was last known.
        held_age = np.where(held_number >= 0, state.total[slots][:, None] - held_number, size + 1)
        start = (self.last_of_group - self.group_size + 1)[self.group][:, None]
        now = self.last_known_row
        before = np.concatenate((np.full((1, now.shape[1]), -1), now[:-1]))[: len(now)]
        before = np.where(before >= start, before, -1)
        row = np.arange(len(slots))[:, None]
        filled = []
        for known in (now, before):
            age = np.where(known >= 0, row - known, row - start + held_age)
            value = np.where(
                known >= 0,
                np.take_along_axis(self.values, np.maximum(known, 0), axis=0),
                state.known_value[slots],
            )
            filled.append(np.where(age < self.windows.readings[:, None], value, np.nan))
        return filled[0], filled[1]

    @cached_property
    def imputed(self) -> Bool:
        """Sensors that were missing and filled from the window, shape [m, sensors]."""
        return np.isnan(self.values) & ~np.isnan(self._filled[0])

    def features(self) -> Float:
        """Features of each row, shape [m, f], in the order of `FeatureSpec.names`. Call before `merge`."""
        now, before = self._filled
        change = (now - before)[:, self.state.differences]
        return np.concatenate((now, change, rolling_features(self.state.spec, self._timeline, self.windows)), axis=1)
