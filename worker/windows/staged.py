"""A batch beside the windows of its keys: the features of its readings, and what it adds once it is merged."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.arrays import NEVER, Bool, Float, Int
from worker.windows.derived import derived_features
from worker.windows.feature_spec import Timeline, readings_in_windows, rolling_features
from worker.windows.late_filter import Arrivals, Content
from worker.windows.time_spans import History, span_features

if TYPE_CHECKING:
    from worker.windows.keyed_state import KeyedState


class Windowed(NamedTuple):
    """Features of readings of a batch, and their inputs, in the order of the batch.

    Attributes:
        row: row in the batch given to `KeyedState.stage`, shape [n].
        features: shape [n, f].
        in_window: readings in the window, shape [n].
        imputed: sensors that were missing and filled from the window, shape [n, sensors].
        shift: ms, shape [n]; see `Staged.shift`.
    """

    row: Int
    features: Float
    in_window: Int
    imputed: Bool
    shift: Int


@dataclass
class Staged:
    """A batch that is not merged yet. Rows are those of accepted readings, sorted by slot, then offset.

    Attributes:
        row: row in the batch given to `stage`, shape [m].
        duplicate: rows dropped because the key has sent the same reading before.
        late: rows dropped because they are too old (worker/windows/late_filter.py).
        slot: of the row's key; negative where the key has none yet.
        new: how many keys have none yet.
    """

    state: "KeyedState"
    row: Int
    duplicate: Int
    late: Int
    slot: Int
    ts: Int
    clock: Int
    content: Content
    values: Float
    arrivals: dict[int, Arrivals | None]
    new: int

    @cached_property
    def _first(self) -> Bool:
        first = np.ones(len(self.slot), np.bool_)
        first[1:] = self.slot[1:] != self.slot[:-1]
        return first

    @cached_property
    def held(self) -> Int:
        """Row of the state with what is held of the row's key, shape [m]; `EMPTY` for a new key."""
        return np.maximum(self.slot, 0)

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
        slots = self.held[self.last_of_group]
        ts, clock = np.empty(self._length, np.int64), np.empty(self._length, np.int64)
        rolled = np.empty((len(state.kept), self._length))
        # Through a view of windows each key's past is copied as a piece.
        begin = self._begin
        sliding_window_view(ts, size, writeable=True)[begin] = state.ts[slots]
        sliding_window_view(clock, size, writeable=True)[begin] = state.last_clock[slots, None] - state.age_clock[slots]
        sliding_window_view(rolled, size, axis=1, writeable=True)[:, begin] = state.rolled[slots].transpose(1, 0, 2)
        ts[self.position], clock[self.position] = self.ts, self.clock
        rolled[:, self.position] = self.values[:, state.kept].T
        return Timeline(ts, clock, rolled)

    @property
    def _length(self) -> int:
        """Length of the timeline."""
        return len(self.slot) + max(len(self.last_of_group), 1) * self.state.spec.max_readings

    @property
    def _begin(self) -> Int:
        """Place in the timeline at which each touched key's past begins, shape [g]."""
        return self.position[self.last_of_group] - self.group_size + 1 - self.state.spec.max_readings

    def contents(self) -> Content:
        """Contents of the readings in the timeline, as windows, shape [length, max_readings]. Call before `merge`."""
        size, content = self.state.spec.max_readings, np.empty(self._length, np.uint32)
        held = self.state.content[self.held[self.last_of_group]]
        sliding_window_view(content, size, writeable=True)[self._begin] = held
        content[self.position] = self.content
        return sliding_window_view(content, size)

    @cached_property
    def shift(self) -> Int:
        """By how much the timers of the row's key move before they are read, ms, shape [m].

        A timer tells how much device time the key's readings have gone through since it began. For readings in order
        that is the difference of their times, and no timer moves. Where one of those that arrived within the lateness
        is out of order, a reading adds the time since the newest of them that is not newer than itself. So a reading
        from another clock neither stops a timer nor makes it jump. A reading ahead of stream time
        adds no more than stream time has moved on by, and others do not count from it.
        """
        shift = np.zeros(len(self.slot), np.int64)
        suspect = self.state.disordered[self.held] | (self.ts > self.clock)
        if self.arrivals:
            suspect |= np.isin(self.slot, list(self.arrivals))
        rows, size = np.flatnonzero(suspect), self.state.spec.max_readings
        if not len(rows) or size == 1:
            return shift
        at, ts, clock = self.position[rows] - size + 1, self.ts[rows], self.clock[rows]
        times = sliding_window_view(self.timeline.ts, size)[at]
        clocks = sliding_window_view(self.timeline.clock, size)[at]
        ahead, near = times > clocks, clocks[:, :-1] > clock[:, None] - self.state.lateness_ms
        out_of_order = (near & (times[:, 1:] < times[:, :-1])).any(axis=1)
        earlier, is_ahead = times[:, :-1], ahead[:, -1]
        known = near & (earlier <= ts[:, None]) & (is_ahead[:, None] | ~ahead[:, :-1])
        nearest = np.where(known.any(axis=1), np.where(known, earlier, NEVER).max(axis=1), ts)
        added = ts - nearest
        added = np.where(is_ahead, np.minimum(added, clock - clocks[:, -2]), added)
        moves = near[:, -1] & (out_of_order | is_ahead)
        shift[rows] = np.where(moves, ts - added - earlier[:, -1], 0)
        return shift

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
        """Sensors whose changes count, forward-filled within the row's window up to the row before, [m, changes]."""
        before = np.full((len(self.slot), len(self.state.changes)), np.nan)
        before[1:] = self.values[:-1, self.state.changes]
        before[self._first] = np.nan
        row, column = np.nonzero(np.isnan(before) | (self.in_window < 2)[:, None])
        sensor = np.array(self.state.changes, np.int64)[column]
        known = np.where(self._first[row], -1, self.last_known_row[row - 1, sensor])
        before[row, column] = self._last_known(row, sensor, known)
        return before

    def _last_known(self, row: Int, sensor: Int, known: Int) -> Float:
        """Value of the sensor at row `known` of the batch, or the one held if that is -1; NaN if out of the window."""
        age = self._age_of_known(row, sensor, known)
        value = np.where(known >= 0, self.values[known, sensor], self.state.known_value[self.held[row], sensor])
        return np.where(age < self.in_window[row], value, np.nan)

    def _age_of_known(self, row: Int, sensor: Int, known: Int) -> Int:
        """How many readings before `row` the sensor's value is: that of row `known`, or the one held if that is -1."""
        held = row - self._first_of_group[row] + 1 + self.state.known_age[self.held[row], sensor]
        return np.where(known >= 0, row - known, held)

    @cached_property
    def imputed(self) -> Bool:
        """Sensors that were missing and filled from the window, shape [m, sensors]."""
        return np.isnan(self.values) & ~np.isnan(self._filled)

    def windowed(self, wanted: Bool) -> Windowed:
        """What the wanted rows of the batch have in their windows, in the order of the batch. Call before `merge`.

        Args:
            wanted: by row in the batch given to `stage`, shape [n].
        """
        order = np.argsort(self.row, kind="stable")
        order = order[wanted[self.row[order]]]
        if not len(order):  # a rebuild needs nothing of its windows
            none, spec = np.empty(0, np.int64), self.state.spec
            return Windowed(
                none, np.empty((0, len(spec.names))), none, np.empty((0, len(spec.sensors)), np.bool_), none
            )
        return Windowed(
            self.row[order], self.features()[order], self.in_window[order], self.imputed[order], self.shift[order]
        )

    def _seconds_between_values(self) -> Float:
        """Seconds since the value before of each sensor in `rates`, shape [m, rates].

        NaN where the reading has no value, or there is no earlier one in the window, or no time has passed.
        """
        sensors = np.array(self.state.changes[len(self.state.spec.differences) :], np.int64)
        row = np.arange(len(self.slot))[:, None]
        known = np.full((len(row), len(sensors)), -1)
        known[1:] = self.last_known_row[:-1, sensors]
        known[self._first] = -1
        age = self._age_of_known(row, sensors, known)
        there = ~np.isnan(self.values[:, sensors]) & (age < self.in_window[:, None])
        elapsed = self.ts[:, None] - self.timeline.ts[self.position[:, None] - np.where(there, age, 0)]
        return np.where(there & (elapsed > 0), elapsed / 1000.0, np.nan)

    @property
    def _history(self) -> History:
        timeline, size = self.timeline, self.state.spec.max_readings
        return History(timeline.ts, timeline.rolled, self.position, self.in_window, size)

    def features(self) -> Float:
        """Features of each row, shape [m, f], in the order of `FeatureSpec.names`. Call before `merge`."""
        spec = self.state.spec
        change = self._filled[:, self.state.changes] - self._previous()
        if spec.rates:
            change[:, len(spec.differences) :] /= self._seconds_between_values()
        rolling = rolling_features(spec, self.timeline, self.position, self.in_window)
        parts = [self._filled, change, rolling]
        if spec.spans:
            parts.append(span_features(spec.spans, spec.kept, self._history))
        features = np.concatenate(parts, axis=1)
        return derived_features(spec.derived, spec.names, features) if spec.derived else features
