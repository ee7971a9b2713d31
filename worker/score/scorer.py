"""From a batch to its outcome: decode, validate, windows, model, alarms, explanations.

Bytes and columns go in, columns come out. The stages use no Kafka client, no clock and no network; only a writer's
schema that is not known yet is asked for, through the function that the decoder was given. `process` changes nothing
that a later batch could see. Only `merge` does, so a batch whose transaction aborts leaves no trace.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from worker.alarms.state_machine import AlarmPolicy, Alarms
from worker.config.pipeline import Pipeline, Topology
from worker.model.contract import Features, Model
from worker.model.package_files import PackageError
from worker.model.shap import explain_rows
from worker.score.batch import Batch
from worker.score.decode import Decoder, Framed, WriterSchemaOf
from worker.score.outcome import Origin, Outcome, Scored
from worker.score.readings import Readings, Rejection
from worker.score.validate import Valid, Validator
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import EMPTY, KeyedState, lateness_ms
from worker.windows.partition import Partition
from worker.windows.staged import Staged


class Decode(Protocol):
    """The decode stage (worker/score/decode.py)."""

    def __call__(self, values: Sequence[bytes | None], framed: Framed, /) -> tuple[Readings, list[Rejection]]:
        """Decode a batch of message values, and what headers say about their schemas."""
        ...


Timer = Callable[[str], AbstractContextManager[None]]
"""Given the name of a stage, measures what runs inside of it."""


def untimed(_stage: str) -> AbstractContextManager[None]:
    """A timer that measures nothing."""
    return nullcontext()


class Scorer:
    """Runs batches through the stages, and holds the windows and alarms of the assigned partitions.

    Attributes:
        model: the model.
        spec: its features.
        alarms: of all partitions.
        state: windows of all partitions.
        follow: called with each merged batch.
    """

    def __init__(
        self,
        decode: Decode,
        validate: Validator,
        topology: Topology,
        model: Model,
        alarms: Alarms,
        timed: Timer = untimed,
    ) -> None:
        self.model = model
        self.alarms = alarms
        self.follow: Callable[[Outcome], None] | None = None
        self.spec = spec_of(model)
        self.state = KeyedState(self.spec, lateness_ms(self.spec, validate.max_future_ms))
        self._decode, self._validate, self._topology, self._timed = decode, validate, topology, timed
        self._scale_of = self._scales_of_default()

    def process(self, batch: Batch, partitions: Mapping[int, Partition]) -> Outcome:
        """Score a batch.

        Raises:
            PendingSchemaError: a writer's schema is not known yet, and the registry does not answer.
        """
        live, values = _replayed(batch, partitions)
        with self._timed("decode"):
            readings, rejections = self._decode(values, batch.framed)
        with self._timed("validate"):
            valid, invalid = self._validate(readings, batch.key_column(), batch.broker_ts)
        with self._timed("features"):
            origin = _origin(batch, valid)
            clock, clocks = _clock(valid.readings.ts, origin, partitions)
            staged, new_keys = self._stage(valid.readings, origin, clock, partitions)
            is_live = live[valid.readings.row]
            windowed = staged.windowed(is_live)
        readings, origin = valid.readings.take(windowed.row), origin.take(windowed.row)
        with self._timed("score"):
            probability = (
                self.model.predict(Features(windowed.features, {})).value if len(windowed.row) else np.empty(0)
            )
        with self._timed("alarms"):
            partition = origin.partition.tolist()
            alarms = self.alarms.stage(partition, origin.keys, readings.ts, probability, windowed.shift)
        with self._timed("explain"):
            rows = [transition.row for transition in alarms.transitions]
            explanations = explain_rows(self.model, Features(windowed.features[rows], {})) if rows else []
        masked = valid.masked[windowed.row]
        late = [self._late(valid.readings, row) for row in staged.late.tolist()]
        return Outcome(
            model=self.model,
            threshold=self.alarms.policy.setpoint,
            batch=batch,
            scored=Scored(
                readings,
                origin,
                windowed.features,
                probability,
                windowed.in_window,
                masked,
                windowed.imputed,
                windowed.shift,
            ),
            alarms=alarms,
            explanations=explanations,
            rejections=[rejection for rejection in (*rejections, *invalid, *late) if live[rejection.row]],
            deduplicated=int(is_live[staged.duplicate].sum()),
            replayed=int((~live).sum()),
            clocks=clocks,
            staged=staged,
            new_keys=new_keys,
        )

    def merge(self, outcome: Outcome, partitions: Mapping[int, Partition]) -> None:
        """Make a committed batch part of the state."""
        slots = self.state.merge(outcome.staged)
        for (number, key), slot in zip(outcome.new_keys, slots.tolist(), strict=True):
            partitions[number].slots[key] = slot
        self.alarms.merge(outcome.alarms)
        for number, next_offset in outcome.next_offsets.items():
            partition = partitions[number]
            before = partition.clock
            partition.advance(next_offset, outcome.clocks.get(number, before), self.state.rebuild_span_ms)
            self._forget_expired(partition, before)
        if self.follow is not None:
            self.follow(outcome)

    def adopt(self, model: Model, policy: AlarmPolicy, windows_of: "Scorer | None" = None) -> None:
        """Score with another model from the next batch on; alarms stay as they are.

        Args:
            model: the model.
            policy: its alarm policy.
            windows_of: where its windows are; None where its features are those of the model before.
        """
        self.model, self.alarms.policy = model, policy
        if windows_of is not None:
            self.state, self.spec, self._scale_of = windows_of.state, windows_of.spec, self._scales_of_default()

    def revoke(self, partition: Partition) -> None:
        """Drop the windows and alarms of a partition."""
        self.state.free(partition.slots.values())
        self.alarms.revoke(partition.number)

    def _stage(
        self, readings: Readings, origin: Origin, clock: Int, partitions: Mapping[int, Partition]
    ) -> tuple[Staged, list[tuple[int, bytes]]]:
        """The batch beside its keys' windows, and the keys that have none yet: the first is in slot -1, and so on."""
        partition, keys = origin.partition.tolist(), origin.keys
        slots = [partitions[number].slots.get(key, EMPTY) for number, key in zip(partition, keys, strict=True)]
        new: dict[tuple[int, bytes], int] = {}
        if EMPTY in slots:
            for row, slot in enumerate(slots):
                if slot == EMPTY:
                    slots[row] = new.setdefault((partition[row], keys[row]), -1 - len(new))
        scaled = readings.values / self._scales(readings, keys)
        return self.state.stage(np.array(slots, np.int64), readings.ts, clock, scaled), list(new)

    def _scales_of_default(self) -> dict[tuple[str, str], Float]:
        # One entry for each declaration of the topology, so a flood of new keys adds none.
        return {("", ""): self.spec.scales(dict(self._topology.default))}

    def _scales(self, readings: Readings, keys: list[bytes]) -> Float:
        """Divisors of each reading's sensors, by its own key and group: the same in any run and rebuild."""
        topology = self._topology
        if not (topology.groups or topology.keys) or not keys:
            return self._scale_of["", ""]
        own = (name if (name := key.decode()) in topology.keys else "" for key in keys)
        shared = (name if (name := readings.group[i]) in topology.groups else "" for i in range(len(keys)))
        places = list(zip(own, shared, strict=True))
        for key, group in set(places) - self._scale_of.keys():
            self._scale_of[key, group] = self.spec.scales(topology.of(key, group))
        return np.stack([self._scale_of[place] for place in places])

    def _late(self, readings: Readings, row: int) -> Rejection:
        return Rejection(
            int(readings.row[row]),
            DeadLetterReason.LATE,
            f"{readings.key[row]!r} has readings newer than {readings.ts[row]} by {self.state.lateness_ms} ms or more, "
            "or has sent so many since then that a repetition cannot be recognised",
        )

    def _forget_expired(self, partition: Partition, clock_before: int) -> None:
        # Four times per span bounds memory at little cost.
        every = self.spec.max_span_ms // 4
        if partition.clock // every == clock_before // every:
            return
        keys = list(partition.slots)
        slots = np.fromiter(partition.slots.values(), np.int64, len(keys))
        expired = np.flatnonzero(self.state.expired(slots, partition.clock))
        self.state.free(partition.slots.pop(keys[i]) for i in expired.tolist())


def spec_of(model: Model) -> FeatureSpec:
    """The features that a model brings.

    Raises:
        PackageError: it brings none.
    """
    if model.spec is None:
        raise PackageError("bad_features", f"model {model.name} {model.version} brings no features (features.json)")
    return model.spec


def key_texts(batch: Batch, valid: Valid) -> list[bytes]:
    """The text of each valid reading's key: its message key, or the record's key field if that has another form."""
    keys = [batch.keys[row] or b"" for row in valid.readings.row.tolist()]
    for i in np.flatnonzero(valid.rekeyed).tolist():
        keys[i] = valid.readings.key.raw(i)
    return keys


def _replayed(batch: Batch, partitions: Mapping[int, Partition]) -> tuple[Bool, list[bytes | None]]:
    """Which messages are live, shape [n], and the values, without those that a replay excludes."""
    live = batch.offset >= batch.by_partition({n: p.live_from for n, p in partitions.items()}, otherwise=0)
    if live.all():
        return live, batch.values
    values = batch.values.copy()
    for number in np.unique(batch.partition[~live]).tolist():
        excluded = np.isin(batch.offset, partitions[number].exclusions) & (batch.partition == number) & ~live
        for row in np.flatnonzero(excluded).tolist():
            values[row] = None
    return live, values


def _origin(batch: Batch, valid: Valid) -> Origin:
    row = valid.readings.row
    return Origin(key_texts(batch, valid), batch.partition[row], batch.offset[row], batch.broker_ts[row])


def _clock(ts: Int, origin: Origin, partitions: Mapping[int, Partition]) -> tuple[Int, dict[int, int]]:
    """Stream time at each reading, and by partition after the batch."""
    clock, after = np.empty(len(ts), np.int64), {}
    # A device clock that is ahead must not advance the stream time, on which the windows of all keys depend.
    reached = np.minimum(ts, origin.broker_ts)
    for number in np.unique(origin.partition).tolist():
        rows = np.flatnonzero(origin.partition == number)
        times = np.maximum(np.maximum.accumulate(reached[rows]), partitions[number].clock)
        clock[rows], after[number] = times, int(times[-1])
    return clock, after


def scorer_of(
    pipeline: Pipeline,
    model: Model,
    policy: AlarmPolicy,
    writer_schema_of: WriterSchemaOf,
    timed: Timer = untimed,
) -> Scorer:
    """A scorer of a pipeline's messages."""
    return Scorer(
        decode=Decoder(pipeline.input, writer_schema_of),
        validate=Validator(pipeline.input),
        topology=pipeline.topology,
        model=model,
        alarms=Alarms(policy),
        timed=timed,
    )
