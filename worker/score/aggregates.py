"""The aggregates of the keys of all assigned partitions: what the scorer keeps besides windows and alarms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from common.arrays import Bool, Float, Int
from schemas.text_column import TextColumn
from worker.score.readings import Origin, Readings
from worker.windows.aggregate_state import AggregateState
from worker.windows.aggregates import Layout, Selection
from worker.windows.partition import Partition
from worker.windows.ring import Places
from worker.windows.staged_aggregates import KeyTimes, StagedAggregates

_LOOKS = 4  # at how many points of the longest window's length forgotten keys are looked for
_UNKNOWN = 0


@dataclass(frozen=True)
class Deleted:
    """A bucket whose record is to be deleted."""

    partition: int
    key: bytes
    bucket_ms: int
    number: int


@dataclass(frozen=True)
class AggregatedBatch:
    """A batch beside the aggregates of its keys.

    Attributes:
        staged: the live readings that are scored.
        partition: of each touched key, shape [t].
        keys: touched keys, in the order of `staged.slot`.
        new_keys: partition and key of each key that has no slot yet: the first is in slot -1, and so on.
        expired: keys that are forgotten, with their slots, by partition.
        unused: buckets without use that were restored, by partition.
    """

    staged: StagedAggregates
    partition: Int
    keys: list[bytes]
    new_keys: list[tuple[int, bytes]]
    expired: dict[int, dict[bytes, int]]
    unused: dict[int, list[Deleted]]

    def deleted(self) -> Iterator[Deleted]:
        """Buckets whose records are to be deleted, before others are written."""
        state = self.staged.state
        for deleted in self.unused.values():
            yield from deleted
        for number, slots in self.expired.items():
            keys = list(slots)
            for ring, kept in zip(
                state.layout.rings, state.buckets(np.array([*slots.values()], np.int64)), strict=True
            ):
                for key, bucket in zip(kept.key.tolist(), kept.number.tolist(), strict=True):
                    yield Deleted(number, keys[key], ring.bucket_ms, bucket)
        for ring, gone in zip(state.layout.rings, self.staged.gone, strict=True):
            for key, bucket in zip(gone.key.tolist(), gone.number.tolist(), strict=True):
                yield Deleted(int(self.partition[key]), self.keys[key], ring.bucket_ms, bucket)


class KeyedAggregates:
    """Aggregates in memory, restored from their topic after a restart.

    Args:
        layout: what is kept.
        sensors: names of the columns of `Readings.values`.
    """

    def __init__(self, layout: Layout, sensors: tuple[str, ...]) -> None:
        self.layout, self.state = layout, AggregateState(layout)
        self._sensors = sensors
        self._slots: dict[int, dict[bytes, int]] = {}
        self._unused: dict[int, list[Deleted]] = {}

    @property
    def held(self) -> int:
        """Keys with aggregates."""
        return self.state.held

    def stage(
        self,
        readings: Readings,
        origin: Origin,
        clock: Int,
        partitions: Mapping[int, Partition],
        clocks: dict[int, int],
    ) -> AggregatedBatch:
        """What a batch would add. It changes nothing that a later batch could see.

        Args:
            readings: live ones that are scored, n.
            origin: of the readings.
            clock: stream time at each, ms, shape [n].
            partitions: with their stream time before the batch.
            clocks: stream time after the batch, ms, by partition.
        """
        numbers, keys = origin.partition.tolist(), origin.keys
        slots = [self._slots.get(n, {}).get(key, _UNKNOWN) for n, key in zip(numbers, keys, strict=True)]
        new: dict[tuple[int, bytes], int] = {}
        for row, slot in enumerate(slots):
            if slot == _UNKNOWN:
                slots[row] = new.setdefault((numbers[row], keys[row]), -1 - len(new))
        values = self._selected(readings)
        staged = self.state.stage(np.array(slots, np.int64), origin.offset, readings.ts, clock, values)
        touched = set(staged.slot.tolist())
        live = set(numbers)
        return AggregatedBatch(
            staged,
            origin.partition[staged.row],
            [keys[row] for row in staged.row.tolist()],
            list(new),
            {n: self._expired(n, partitions[n].clock, clocks[n], touched) for n in live},
            {n: self._unused[n] for n in live & self._unused.keys()},
        )

    def merge(self, batch: AggregatedBatch) -> None:
        """Make a staged batch part of the state."""
        slots = self.state.merge(batch.staged)
        for (number, key), slot in zip(batch.new_keys, slots.tolist(), strict=True):
            self._of(number)[key] = slot
        for number, expired in batch.expired.items():
            self.state.free(self._of(number).pop(key) for key in expired)
        for number in batch.unused:
            self._unused.pop(number, None)

    def revoke(self, number: int) -> None:
        """Drop the aggregates of a partition."""
        self.state.free(self._slots.pop(number, {}).values())
        self._unused.pop(number, None)

    def restore(
        self, number: int, bucket_ms: int, keys: list[bytes], buckets: Int, content: Float, times: KeyTimes
    ) -> None:
        """Set buckets of a partition's keys as their records say, in the order in which these were written.

        Args:
            number: of the partition.
            bucket_ms: length of the buckets.
            keys: shape [n].
            buckets: their numbers, shape [n].
            content: in the order of the ring's columns, shape [n, columns].
            times: of the keys, shape [n].
        """
        slots = self._of(number)
        new = [key for key in dict.fromkeys(keys) if key not in slots]
        slots.update(zip(new, self.state.allocate(len(new)).tolist(), strict=True))
        at = np.array([slots[key] for key in keys], np.int64)
        unused = self.state.restore(self._ring(bucket_ms), at, buckets, content, times)
        if len(unused.key):
            self._drop(number, bucket_ms, unused, dict(zip(at.tolist(), keys, strict=True)))

    def clear(self, number: int, bucket_ms: int, keys: list[bytes], buckets: Int) -> None:
        """Forget buckets of a partition's keys, as their records were deleted; arguments as of `restore`."""
        slots = self._of(number)
        at = np.array([slots.get(key, _UNKNOWN) for key in keys], np.int64)
        known = at != _UNKNOWN
        self.state.clear(self._ring(bucket_ms), at[known], buckets[known])

    def restored(self, number: int) -> int:
        """Note that all records of a partition were read; how many keys it has."""
        slots = self._of(number)
        at = np.array([*slots.values()], np.int64)
        for ring, plan in enumerate(self.layout.rings):
            unused = self.state.outside(ring, at)
            if len(unused.key):
                self._drop(number, plan.bucket_ms, unused, {slot: key for key, slot in slots.items()})
        return len(slots)

    def unused(self, number: int, deleted: Deleted) -> None:
        """Have the record of a bucket deleted that no feature needs."""
        self._unused.setdefault(number, []).append(deleted)

    def _drop(self, number: int, bucket_ms: int, unused: Places, keys: Mapping[int, bytes]) -> None:
        for slot, bucket in zip(unused.key.tolist(), unused.number.tolist(), strict=True):
            self.unused(number, Deleted(number, keys[slot], bucket_ms, bucket))

    def _ring(self, bucket_ms: int) -> int:
        return [ring.bucket_ms for ring in self.layout.rings].index(bucket_ms)

    def _of(self, number: int) -> dict[bytes, int]:
        return self._slots.setdefault(number, {})

    def _expired(self, number: int, before: int, after: int, touched: set[int]) -> dict[bytes, int]:
        every = self.layout.longest_ms // _LOOKS
        if before // every == after // every:
            return {}
        keys = self._of(number)
        expired = self.state.expired(np.fromiter(keys.values(), np.int64, len(keys)), after).tolist()
        return {k: slot for (k, slot), gone in zip(keys.items(), expired, strict=True) if gone and slot not in touched}

    def _selected(self, readings: Readings) -> Float:
        """A column for each selection: NaN where a reading is not selected, shape [n, selections]."""
        columns = [self._column(readings, selection) for selection in self.layout.selections]
        return np.stack(columns, axis=1)

    def _column(self, readings: Readings, selection: Selection) -> Float:
        wanted = np.ones(len(readings.ts), np.bool_)
        for field, value in selection.where:
            wanted &= self._equal(readings, field, value)
        if selection.field is None:
            return np.where(wanted, 1.0, np.nan)
        if selection.field in readings.categories:
            return np.where(wanted & readings.categories[selection.field].present, 1.0, np.nan)
        values = readings.values[:, self._sensors.index(selection.field)]
        return np.where(wanted, values, np.nan)

    def _equal(self, readings: Readings, field: str, value: str | bool) -> Bool:
        if isinstance(value, bool):
            same: Bool = readings.values[:, self._sensors.index(field)] == float(value)
            return same
        column = readings.categories[field]
        searched = TextColumn.of([value.encode()]).take(np.zeros(len(column), np.int64))
        return column.present & column.text.equals(searched)
