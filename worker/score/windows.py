"""What the scorer keeps of keys, to compute features from: their windows, or nothing where no feature needs any."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from worker.config.topology import Topology
from worker.score.last_scored import LastScoredOfKeys
from worker.score.per_topology import PerTopology
from worker.score.readings import Origin, Readings, Rejection
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import EMPTY, KeyedState, lateness_ms
from worker.windows.late_filter import Content, content_of
from worker.windows.partition import Partition
from worker.windows.staged import Staged, Windowed

Partitions = Mapping[int, Partition]


class StagedReadings(Protocol):
    """A batch that is not merged yet. Rows are those of the readings that were given to `Windows.stage`."""

    @property
    def duplicate(self) -> Int:
        """Rows dropped because the key has sent the same reading before."""
        ...

    @property
    def late(self) -> list[Rejection]:
        """Of the readings dropped because they are too old."""
        ...

    def windowed(self, wanted: Bool) -> Windowed:
        """What the wanted rows have in their windows; `wanted`: shape [n]. Call before `merge`."""
        ...


class Windows(Protocol):
    """The windows of the keys of all assigned partitions. `stage` changes nothing that a later batch could see."""

    @property
    def rebuild_span_ms(self) -> int:
        """See `worker.windows.keyed_state.rebuild_span_ms`; 0: nothing has to be rebuilt after a restart."""
        ...

    @property
    def held(self) -> int:
        """Keys with a window."""
        ...

    @property
    def last(self) -> LastScoredOfKeys | None:
        """The last scored reading of each key that has a window, by its slot; None: keys have none."""
        ...

    def stage(self, readings: Readings, origin: Origin, clock: Int, partitions: Partitions) -> StagedReadings:
        """What a batch would add. Readings of a key are in the order of their offsets.

        Args:
            readings: valid ones, n.
            origin: of the readings.
            clock: stream time at each, ms, shape [n].
            partitions: where slots of known keys are found.
        """
        ...

    def merge(self, staged: Any, partitions: Partitions) -> None:
        """Make a staged batch part of the windows."""
        ...

    def forget_expired(self, partition: Partition, clock_before: int) -> None:
        """Drop the keys of a partition that have been silent for long, now and then as its stream time moves on."""
        ...

    def revoke(self, partition: Partition) -> None:
        """Drop the windows of a partition."""
        ...

    def of(self, partition: Partition, key: bytes) -> dict[str, Any] | None:
        """A key's window for a person to read; None if there is none."""
        ...

    def scale_of(self, partition: Partition, key: bytes) -> dict[str, float]:
        """What the values of a key that has a window were divided by, by sensor, where that is not 1."""
        ...


@dataclass(frozen=True)
class StagedKeys:
    """A batch beside its keys' windows.

    Attributes:
        columns: of the pipeline's sensors: which are those of the features, and how many there are.
        staged: the readings.
        new_keys: partition and key of each key that has no window slot yet: the first is in slot -1, and so on.
        new_scale: divisors of each of them, shape [k, sensors]; None where all keys are built alike.
        late: rejections of readings that are too old.
    """

    columns: "_Columns"
    staged: Staged
    new_keys: list[tuple[int, bytes]]
    new_scale: Float | None
    late: list[Rejection]

    @property
    def duplicate(self) -> Int:
        """See `StagedReadings`."""
        return self.staged.duplicate

    def windowed(self, wanted: Bool) -> Windowed:
        """See `StagedReadings`."""
        windowed = self.staged.windowed(wanted)
        return windowed._replace(imputed=self.columns.among_all(windowed.imputed))


class _Columns:
    """Where the sensors of the features are among all of a pipeline: by name, and some may be no feature."""

    def __init__(self, used: Sequence[str], sensors: Sequence[str]) -> None:
        self.used = np.array([sensors.index(name) for name in used], np.int64)
        self.other = np.setdiff1d(np.arange(len(sensors)), self.used)
        self._all = len(sensors)

    def among_all(self, flags: Bool) -> Bool:
        """Flags of the sensors used [n, used], as flags of all sensors [n, sensors]."""
        found = np.zeros((len(flags), self._all), np.bool_)
        found[:, self.used] = flags
        return found


class KeyedWindows:
    """Windows in memory, rebuilt from the log after a restart.

    Attributes:
        spec: the features.
        state: the windows.
        last: the last scored reading of each key.
    """

    def __init__(self, spec: FeatureSpec, sensors: Sequence[str], topology: Topology, max_future_ms: int) -> None:
        """Windows of no keys yet. `sensors`: names of the columns of `Readings.values`, with those of the features."""
        self.spec, self._columns = spec, _Columns(spec.sensors, sensors)
        self._scales = PerTopology(topology, spec.scales)
        self._scale_of: dict[int, Float] = {}  # by slot, of keys that the topology does not leave at its default
        self.last = LastScoredOfKeys(len(sensors))
        self.state = KeyedState(spec, lateness_ms(spec, max_future_ms))

    @property
    def rebuild_span_ms(self) -> int:
        """See `Windows`."""
        return self.state.rebuild_span_ms

    @property
    def held(self) -> int:
        """See `Windows`."""
        return self.state.held

    def stage(self, readings: Readings, origin: Origin, clock: Int, partitions: Partitions) -> StagedKeys:
        """See `Windows`."""
        partition, keys = origin.partition.tolist(), origin.keys
        slots = [partitions[number].slots.get(key, EMPTY) for number, key in zip(partition, keys, strict=True)]
        new: dict[tuple[int, bytes], int] = {}
        if EMPTY in slots:
            for row, slot in enumerate(slots):
                if slot == EMPTY:
                    slots[row] = new.setdefault((partition[row], keys[row]), -1 - len(new))
        scale = self._scales.of(readings, keys)
        scaled = readings.values[:, self._columns.used] / scale
        slot_of, others = np.array(slots, np.int64), self._content_of_others(readings)
        staged = self.state.stage(slot_of, readings.ts, clock, scaled, others)
        first = dict(zip(reversed(slots), reversed(range(len(slots))), strict=True)) if new and scale.ndim > 1 else {}
        new_scale = scale[[first[slot] for slot in new.values()]] if first else None
        late = [self._late(readings, row) for row in staged.late.tolist()]
        return StagedKeys(self._columns, staged, list(new), new_scale, late)

    def merge(self, staged: StagedKeys, partitions: Partitions) -> None:
        """See `Windows`."""
        slots = self.state.merge(staged.staged)
        for (number, key), slot in zip(staged.new_keys, slots.tolist(), strict=True):
            partitions[number].slots[key] = slot
        self.last.forget(slots)
        if staged.new_scale is not None:
            self._scale_of |= dict(zip(slots.tolist(), staged.new_scale, strict=True))

    def forget_expired(self, partition: Partition, clock_before: int) -> None:
        """See `Windows`."""
        # Four times per span bounds memory at little cost.
        every = self.spec.max_span_ms // 4
        if partition.clock // every == clock_before // every:
            return
        keys = list(partition.slots)
        slots = np.fromiter(partition.slots.values(), np.int64, len(keys))
        expired = np.flatnonzero(self.state.expired(slots, partition.clock))
        self.state.free(partition.slots.pop(keys[i]) for i in expired.tolist())

    def revoke(self, partition: Partition) -> None:
        """See `Windows`."""
        self.state.free(partition.slots.values())

    def of(self, partition: Partition, key: bytes) -> dict[str, Any] | None:
        """See `Windows`."""
        slot = partition.slots.get(key)
        return None if slot is None else self.state.window(slot)

    def scale_of(self, partition: Partition, key: bytes) -> dict[str, float]:
        """See `Windows`."""
        scale = self._scale_of.get(partition.slots[key], self._scales.default)
        return {name: by for name, by in zip(self.spec.sensors, scale.tolist(), strict=True) if by != 1.0}

    def _content_of_others(self, readings: Readings) -> Content | None:
        """A number for what a reading holds beside the sensors of the features, shape [n]; None: nothing."""
        texts, other = _content_of_texts(readings), self._columns.other
        if not len(other):
            return texts
        numbers = content_of(readings.values[:, other])
        return numbers if texts is None else texts * np.uint32(0x9E3779B1) ^ numbers

    def _late(self, readings: Readings, row: int) -> Rejection:
        return Rejection(
            int(readings.row[row]),
            DeadLetterReason.LATE,
            f"{readings.key[row]!r} has readings newer than {readings.ts[row]} by {self.state.lateness_ms} ms or more, "
            "or has sent so many since then that a repetition cannot be recognised",
        )


def _content_of_texts(readings: Readings) -> Content | None:
    """A number for the categories of each reading, shape [n]: equal for equal texts, in any run."""
    if not readings.categories:
        return None
    content = np.zeros(len(readings.row), np.uint32)
    for name, texts in readings.categories.items():
        codes, distinct = texts.text.distinct()
        numbers = np.array([zlib.crc32(text, zlib.crc32(name.encode())) for text in distinct], np.uint32)
        content = content * np.uint32(0x9E3779B1)
        if len(codes):
            content ^= np.where(texts.present, numbers[codes], np.uint32(0))
    return content


class StagedAlone(NamedTuple):
    """Readings that stand alone; values: shape [n, sensors]."""

    values: Float
    duplicate: Int
    late: list[Rejection]

    def windowed(self, wanted: Bool) -> Windowed:
        """See `StagedReadings`. The values are the features."""
        rows = np.flatnonzero(wanted)
        nothing, values = np.zeros(len(rows), np.int64), self.values if wanted.all() else self.values[rows]
        return Windowed(rows, values, nothing + 1, np.zeros(values.shape, np.bool_), nothing)


class NoWindows:
    """For features that need no other reading. Every valid reading is scored: none is late or a duplicate."""

    rebuild_span_ms = 0
    held = 0
    last = None

    def stage(self, readings: Readings, _origin: Origin, _clock: Int, _partitions: Partitions) -> StagedAlone:
        """See `Windows`."""
        return StagedAlone(readings.values, np.empty(0, np.int64), [])

    def merge(self, _staged: StagedAlone, _partitions: Partitions) -> None:
        """Nothing is kept."""

    def forget_expired(self, _partition: Partition, _clock_before: int) -> None:
        """Nothing is kept."""

    def revoke(self, _partition: Partition) -> None:
        """Nothing is kept."""

    def of(self, _partition: Partition, _key: bytes) -> None:
        """Nothing is kept."""

    def scale_of(self, _partition: Partition, _key: bytes) -> dict[str, float]:
        """Nothing is scaled."""
        return {}
