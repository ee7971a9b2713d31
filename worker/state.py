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
Shadow = list[tuple[int, int]]  # (ts, clock) of refused readings that will be a key's newest once the newer expire


class KeyedState:
    """Window state of keys, each held in a *slot* (a row of the arrays below). Slots are reused after `free`."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._rolling = [spec.sensors.index(c) for c in spec.rolling]
        self._differences = [spec.sensors.index(c) for c in spec.differences]
        self._free: list[int] = []
        self._shadow: dict[int, Shadow] = {}
        self._arrays(0)

    def _arrays(self, capacity: int) -> None:
        size, sensors = self.spec.max_readings, len(self.spec.sensors)
        self.newest_ts = np.full(capacity, NEVER)  # latest ts among recent arrivals, and when that arrived
        self.newest_clock = np.full(capacity, NEVER)
        self.total = np.zeros(
            capacity, np.int64
        )  # readings accepted so far; reading number q is in ring place q % size
        self.ring_ts = np.full((capacity, size), NEVER)
        self.ring_clock = np.full((capacity, size), NEVER)
        self.ring_rolled = np.full((capacity, size, len(self._rolling)), np.nan)
        self.known_number = np.full((capacity, sensors), -1)  # number of the last reading that had the sensor
        self.known_value = np.full((capacity, sensors), np.nan)

    _FIELDS = (
        "newest_ts",
        "newest_clock",
        "total",
        "ring_ts",
        "ring_clock",
        "ring_rolled",
        "known_number",
        "known_value",
    )

    def allocate(self, count: int) -> Int:
        """Slots for so many new keys, shape [count]."""
        while len(self._free) < count:
            old = {name: getattr(self, name) for name in self._FIELDS}
            held = len(self.total)
            self._arrays(max(64, 2 * held, held + count))
            for name, values in old.items():
                getattr(self, name)[:held] = values
            self._free.extend(range(len(self.total) - 1, held - 1, -1))
        return np.array([self._free.pop() for _ in range(count)], np.int64)

    def free(self, slots: Iterable[int]) -> None:
        """Forget these keys."""
        slots = list(slots)
        for slot in slots:
            self._shadow.pop(slot, None)
        for name in ("newest_ts", "newest_clock", "ring_ts", "ring_clock"):
            getattr(self, name)[slots] = NEVER
        self.total[slots] = 0
        self.known_number[slots] = -1
        self._free.extend(slots)

    @property
    def held(self) -> int:
        """Keys with a window."""
        return len(self.total) - len(self._free)

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
        gone = self.newest_clock[slots] <= horizon
        for i in np.flatnonzero(gone):
            gone[i] = all(arrived <= horizon for _, arrived in self._shadow.get(int(slots[i]), []))
        return gone

    def stage(self, slot: Int, ts: Int, clock: Int, values: Float) -> "Staged":
        """What a batch would add, leaving the state as it is.

        Args:
            slot: slot of each reading's key, shape [n], readings of a key in the order of their offsets.
            ts: event time, ms, shape [n].
            clock: stream time of the reading's partition, this reading included, ms, shape [n].
            values: sensors scaled for features, NaN where missing, shape [n, sensors].
        """
        order = np.argsort(slot, kind="stable")
        accepted, duplicate, late, newest = self._judge(slot[order], ts[order], clock[order])
        kept = order[accepted]
        return Staged(
            self, kept, order[duplicate], order[late], slot[kept], ts[kept], clock[kept], values[kept], newest
        )

    def _judge(self, slot: Int, ts: Int, clock: Int) -> tuple[Bool, Bool, Bool, dict[int, Shadow]]:
        """Accepted, duplicate and late readings of a batch sorted by slot, and the newest of keys that refused some."""
        first = np.ones(len(slot), np.bool_)
        first[1:] = slot[1:] != slot[:-1]
        before = np.where(first, self.newest_ts[slot], np.concatenate(([NEVER], ts[:-1]))[: len(ts)])
        accepted = ts > before
        duplicate, late = np.zeros_like(accepted), np.zeros_like(accepted)
        newest: dict[int, Shadow] = {}
        # Only a key with a reading that does not ascend needs its readings judged one by one.
        for key in np.unique(slot[~accepted]):
            start, end = np.searchsorted(slot, key, "left"), np.searchsorted(slot, key, "right")
            recent = [
                (int(self.newest_ts[key]), int(self.newest_clock[key])),
                *self._shadow.get(int(key), []),
            ]
            for i in range(start, end):
                verdict = _judge_one(recent, int(ts[i]), int(clock[i]), self.spec.max_span_ms)
                accepted[i], duplicate[i], late[i] = (
                    verdict == "accepted",
                    verdict == "duplicate",
                    verdict == "late",
                )
            newest[int(key)] = recent
        return accepted, duplicate, late, newest

    def merge(self, staged: "Staged") -> None:
        """Make a staged batch part of the state."""
        s, size = staged, self.spec.max_readings
        last = s.last_of_group
        for key in s.slot[last].tolist() if self._shadow else []:
            self._shadow.pop(key, None)
        self.newest_ts[s.slot[last]] = s.ts[last]
        self.newest_clock[s.slot[last]] = s.clock[last]
        for key, recent in s.newest.items():
            self.newest_ts[key], self.newest_clock[key] = recent[0]
            if recent[1:]:
                self._shadow[key] = recent[1:]
        number = self.total[s.slot] + s.number_in_group
        recent_rows = np.flatnonzero(s.group_size[s.group] - s.number_in_group <= size)
        at = (s.slot[recent_rows], number[recent_rows] % size)
        self.ring_ts[at] = s.ts[recent_rows]
        self.ring_clock[at] = s.clock[recent_rows]
        self.ring_rolled[at] = s.values[recent_rows][:, self._rolling]
        where_known = s.last_known_row[last]  # [groups, sensors], row or -1
        group, sensor = np.nonzero(where_known >= 0)
        row = where_known[group, sensor]
        self.known_number[s.slot[row], sensor] = number[row]
        self.known_value[s.slot[row], sensor] = s.values[row, sensor]
        self.total[s.slot[last]] += s.group_size


def _judge_one(recent: Shadow, ts: int, clock: int, span_ms: int) -> str:
    """Judge one reading by the arrivals of the last span: `recent` is a queue of them by falling ts, updated here."""
    while recent and recent[0][1] <= clock - span_ms:
        recent.pop(0)
    newest = recent[0][0] if recent else NEVER
    while recent and recent[-1][0] <= ts:
        recent.pop()
    recent.append((ts, clock))
    return "accepted" if ts > newest else "duplicate" if ts == newest else "late"


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
    newest: dict[int, Shadow]

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
        rolled = np.empty((len(state._rolling), length))  # noqa: SLF001 - two halves of one thing
        ts[history], ts[self._position] = state.ring_ts[slots[:, None], place], self.ts
        clock[history], clock[self._position] = state.ring_clock[slots[:, None], place], self.clock
        rolled[:, history] = state.ring_rolled[slots[:, None], place].transpose(2, 0, 1)
        rolled[:, self._position] = self.values[:, state._rolling].T  # noqa: SLF001
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
        change = (now - before)[:, self.state._differences]  # noqa: SLF001
        return np.concatenate((now, change, rolling_features(self.state.spec, self._timeline, self.windows)), axis=1)
