"""From a batch of messages to what is to be published: decode, validate, windows, model, alarms. Knows no Kafka client.

Nothing is changed until `merge`: a batch whose transaction aborts leaves no trace.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from confluent_kafka import Message

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from schemas.load import load_schema
from worker.alarms.state_machine import AlarmPolicy, Alarms, StagedAlarms
from worker.config.pipeline import Pipeline, Topology
from worker.kafka.message import values_of
from worker.model.package import ModelPackage
from worker.observe.metrics import Metrics
from worker.score.batch import Batch
from worker.score.decode import Decoder, Framed, WriterSchemaOf
from worker.score.readings import Readings, Rejection
from worker.score.validate import Valid, Validator
from worker.windows.keyed_state import KeyedState, lateness_ms
from worker.windows.partition import Partition
from worker.windows.staged import Staged


class Decode(Protocol):
    """The decode stage (worker/score/decode.py)."""

    def __call__(self, values: Sequence[bytes | None], framed: Framed, /) -> tuple[Readings, list[Rejection]]:
        """Decode a batch of message values, and what headers say of their schemas."""
        ...


RefusedBefore = Callable[[Message, int], Int]
"""Given a rebuild's first record and the offset behind its last: those that were dead letters."""


@dataclass(frozen=True)
class Scored:
    """Live readings of a batch with their scores, in the order of the batch. Shapes [n], features [n, f].

    masked and imputed: shape [n, sensors]. shift: ms, see `worker.windows.staged.Staged.shift`.
    """

    readings: Readings
    features: Float
    probability: Float
    in_window: Int
    masked: Bool
    imputed: Bool
    shift: Int


@dataclass(frozen=True)
class Outcome:
    """What a batch comes to.

    Attributes:
        package: the model that scored it.
        threshold: probability from which a reading counts as positive.
    """

    package: ModelPackage
    threshold: float
    batch: Batch
    scored: Scored
    alarms: StagedAlarms
    rejections: list[Rejection]
    deduplicated: int
    replayed: int
    clocks: dict[int, int]
    staged: Staged

    @property
    def next_offsets(self) -> dict[int, int]:
        """Offset behind the batch's last message, by partition."""
        return dict(zip(self.batch.partition.tolist(), (self.batch.offset + 1).tolist(), strict=True))


class Scorer:
    """Runs batches through the stages, and holds the windows and alarms of the assigned partitions."""

    def __init__(
        self,
        decode: Decode,
        validate: Validator,
        topology: Topology,
        package: ModelPackage,
        alarms: Alarms,
        metrics: Metrics,
        refused_before: RefusedBefore = lambda _first, _live_from: np.empty(0, np.int64),
    ) -> None:
        self._refused_before = refused_before
        self.package = package
        self.alarms = alarms
        self.follow: Callable[[Outcome], None] | None = None  # told of each batch that was merged
        self.state = KeyedState(package.spec, lateness_ms(package.spec, validate.max_future_ms))
        self._decode, self._validate, self._topology, self._metrics = decode, validate, topology, metrics
        self._scale_of = self._scales_of_default()

    def process(self, batch: Batch, partitions: Mapping[int, Partition]) -> Outcome:
        """Score a batch.

        Raises:
            DependencyDownError: a writer's schema is not known yet and the registry does not answer.
        """
        live_from = np.array([partitions[p].live_from for p in batch.partition.tolist()], np.int64)
        live = batch.offset >= live_from
        values = values_of(batch.messages)
        for row in self._refused_rows(batch, partitions, np.flatnonzero(~live)):
            values[row] = None
        with self._timed("decode"):
            readings, rejections = self._decode(values, batch.framed)
        with self._timed("validate"):
            valid, refused = self._validate(readings, batch.key_column(), batch.broker_ts)
        rejections += refused
        batch = plainly_keyed(batch, valid)
        with self._timed("features"):
            clock, clocks = self._clock(valid.readings, batch, partitions)
            staged = self._stage(valid, batch, partitions, clock)
            rows = valid.readings.row
            rejections += [self._late(valid.readings, int(i)) for i in staged.late]
            order = np.argsort(rows[staged.row], kind="stable")
            order = order[live[rows[staged.row[order]]]]
            chosen = staged.row[order]
            features = staged.features()[order] if len(order) else np.empty((0, len(self.package.spec.names)))
        kept = valid.readings.take(chosen)
        with self._timed("score"):
            probability = self.package.score(features) if len(order) else np.empty(0)
        with self._timed("alarms"):
            keys = [batch.keys[row] for row in kept.row.tolist()]
            shift = staged.shift[order]
            staged_alarms = self.alarms.stage(batch.partition[kept.row].tolist(), keys, kept.ts, probability, shift)
        in_window = staged.in_window[order] if len(order) else np.empty(0, np.int64)
        imputed = staged.imputed[order] if len(order) else np.empty((0, kept.values.shape[1]), np.bool_)
        return Outcome(
            self.package,
            self.alarms.policy.setpoint,
            batch,
            Scored(kept, features, probability, in_window, valid.masked[chosen], imputed, shift),
            staged_alarms,
            [r for r in rejections if live[r.row]],
            int(live[rows[staged.duplicate]].sum()),
            int((~live).sum()),
            clocks,
            staged,
        )

    def merge(self, outcome: Outcome, partitions: Mapping[int, Partition]) -> None:
        """Make a committed batch part of the state."""
        self.state.merge(outcome.staged)
        self.alarms.merge(outcome.alarms)
        for number, next_offset in outcome.next_offsets.items():
            partition = partitions[number]
            before = partition.clock
            partition.advance(next_offset, outcome.clocks.get(number, before), self.state.rebuild_span_ms)
            self._forget_expired(partition, before)
        if self.follow is not None:
            self.follow(outcome)

    def adopt(self, package: ModelPackage, policy: AlarmPolicy, windows_of: "Scorer | None" = None) -> None:
        """Score with another model from the next batch on; alarms stay as they are.

        Args:
            package: the model.
            policy: its alarm policy.
            windows_of: where its windows are; None where its features are those of the model before.
        """
        self.package, self.alarms.policy = package, policy
        if windows_of is not None:
            self.state, self._scale_of = windows_of.state, self._scales_of_default()

    def revoke(self, partition: Partition) -> None:
        """Drop the windows and alarms of a partition."""
        self.state.free(partition.slots.values())
        self.alarms.revoke(partition.number)

    def _refused_rows(self, batch: Batch, partitions: Mapping[int, Partition], replayed: Int) -> Iterator[int]:
        """Replayed rows that were dead letters when they were live: whatever was mended since, no window had them."""
        of = batch.partition[replayed]
        for number in np.unique(of).tolist():
            partition, rows = partitions[number], replayed[of == number]
            if partition.refused is None:
                partition.refused = self._refused_before(batch.messages[rows[0]], partition.live_from)
            yield from rows[np.isin(batch.offset[rows], partition.refused)].tolist()

    def _clock(
        self, readings: Readings, batch: Batch, partitions: Mapping[int, Partition]
    ) -> tuple[Int, dict[int, int]]:
        """Stream time at each reading, and by partition after the batch."""
        clock, after = np.empty(len(readings.row), np.int64), {}
        of, stamped = batch.partition[readings.row], batch.broker_ts[readings.row]
        # A clock that is ahead does not take the stream time, and with it the windows of other keys, along.
        reached = np.minimum(readings.ts, stamped)
        for number in np.unique(of).tolist():
            rows = np.flatnonzero(of == number)
            times = np.maximum(np.maximum.accumulate(reached[rows]), partitions[number].clock)
            clock[rows], after[number] = times, int(times[-1])
        return clock, after

    def _stage(self, valid: Valid, batch: Batch, partitions: Mapping[int, Partition], clock: Int) -> Staged:
        readings = valid.readings
        numbers = batch.partition[readings.row].tolist()
        keys = [batch.keys[row] for row in readings.row.tolist()]
        slots = [partitions[p].slots.get(k, -1) for p, k in zip(numbers, keys, strict=True)]
        if -1 in slots:
            # A slot that an aborted batch leaves is used when the batch comes again, or freed as one silent for long.
            new = {(numbers[i], keys[i]): None for i, slot in enumerate(slots) if slot < 0}
            for (number, key), slot in zip(new, self.state.allocate(len(new)).tolist(), strict=True):
                partitions[number].slots[key] = slot
            slots = [partitions[p].slots[k] for p, k in zip(numbers, keys, strict=True)]
        scaled = readings.values / self._scales(readings, keys)
        return self.state.stage(np.array(slots, np.int64), readings.ts, clock, scaled)

    def _scales_of_default(self) -> dict[tuple[str, str], Float]:
        # By what the topology declares, never by what arrives: a flood of new keys adds nothing.
        return {("", ""): self.package.spec.scales(dict(self._topology.default))}

    def _scales(self, readings: Readings, keys: list[bytes]) -> Float:
        """Divisors of each reading's sensors, by its own key and group: the same in any run and rebuild."""
        topology = self._topology
        if not (topology.groups or topology.keys) or not keys:
            return self._scale_of["", ""]
        own = (name if (name := key.decode()) in topology.keys else "" for key in keys)
        shared = (name if (name := readings.group[i]) in topology.groups else "" for i in range(len(keys)))
        places = list(zip(own, shared, strict=True))
        for key, group in set(places) - self._scale_of.keys():
            self._scale_of[key, group] = self.package.spec.scales(topology.of(key, group))
        return np.stack([self._scale_of[place] for place in places])

    def _late(self, readings: Readings, i: int) -> Rejection:
        allowed = self.state.lateness_ms
        return Rejection(
            int(readings.row[i]),
            DeadLetterReason.LATE,
            f"{readings.key[i]!r} has readings newer than {readings.ts[i]} by {allowed} ms or more, or has sent too "
            "many since to tell whether this one is a repetition",
        )

    def _forget_expired(self, partition: Partition, clock_before: int) -> None:
        # Four times a span is often enough to bound memory, and seldom enough not to be felt.
        every = self.package.spec.max_span_ms // 4
        if partition.clock // every == clock_before // every:
            return
        keys = list(partition.slots)
        slots = np.fromiter(partition.slots.values(), np.int64, len(keys))
        expired = np.flatnonzero(self.state.expired(slots, partition.clock))
        self.state.free(partition.slots.pop(keys[i]) for i in expired.tolist())

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics.stage_seconds.labels(stage).observe(time.perf_counter() - started)


def plainly_keyed(batch: Batch, valid: Valid) -> Batch:
    """The batch with the text of the record's key field for each message key that says it in another form."""
    if not valid.rekeyed.any():
        return batch
    readings, which = valid.readings, np.flatnonzero(valid.rekeyed).tolist()
    return batch.rekeyed({int(readings.row[i]): readings.key.raw(i) for i in which})


def scorer_of(
    pipeline: Pipeline,
    package: ModelPackage,
    policy: AlarmPolicy,
    writer_schema_of: WriterSchemaOf,
    metrics: Metrics,
    **more: RefusedBefore,
) -> Scorer:
    """A scorer of a pipeline's messages; `more` is for `Scorer`."""
    return Scorer(
        decode=Decoder(pipeline.input, load_schema(pipeline.input.record_model().__name__), writer_schema_of),
        validate=Validator(pipeline.input),
        topology=pipeline.topology,
        package=package,
        alarms=Alarms(policy),
        metrics=metrics,
        **more,
    )
