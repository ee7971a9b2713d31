"""From a batch to its outcome: decode, validate, windows, model, alarms, explanations.

Bytes and columns go in, columns come out. The stages use no Kafka client, no clock and no network; only a writer's
schema that is not known yet is asked for, through the function that the decoder was given. `process` changes nothing
that a later batch could see. Only `merge` does, so a batch whose transaction aborts leaves no trace.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

import numpy as np

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from worker.alarms.alarms import Alarms, StagedAlarms
from worker.alarms.rules import Condition, Rule
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.model.contract import Model
from worker.model.shap import explain_rows
from worker.score.aggregates import KeyedAggregates
from worker.score.assess import Assessor
from worker.score.batch import Batch
from worker.score.decode import Decoder, Framed, WriterSchemaOf
from worker.score.feature_plan import FeaturePlan, plan_for
from worker.score.outcome import Outcome, Scored
from worker.score.predict import predict
from worker.score.readings import Origin, Readings, Rejection
from worker.score.validate import Valid, Validator
from worker.score.windows import KeyedWindows, NoWindows, Windows
from worker.windows.partition import Partition


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
        model: what scores.
        plan: where its inputs come from.
        alarms: of all partitions.
        windows: of all partitions.
        aggregates: of all partitions; None: the pipeline has none.
        sensors: of the pipeline, by name.
        follow: called with each merged batch.
    """

    def __init__(
        self,
        decode: Decode,
        pipeline: Pipeline,
        model: Model,
        policy: AlarmPolicy | None,
        timed: Timer = untimed,
        rules: tuple[Rule, ...] = (),
    ) -> None:
        """A scorer without partitions; without a policy the model raises no alarms."""
        self.model, self.plan = model, plan_for(model, pipeline)
        self._assess, self._topology = Assessor(model, pipeline.topology), pipeline.topology
        self.alarms = Alarms(policy, rules)
        self.follow: Callable[[Outcome], None] | None = None
        self.windows = _windows_of(self.plan, pipeline)
        layout, self.sensors = pipeline.layout, pipeline.input.sensors()
        self.aggregates = None if layout is None else KeyedAggregates(layout, self.sensors)
        keyed = self.plan.spec is not None or policy is not None or rules or layout is not None
        self._decode, self._validate, self._timed = decode, Validator(pipeline.input, keyed=bool(keyed)), timed

    def process(self, batch: Batch, partitions: Mapping[int, Partition]) -> Outcome:
        """Score a batch.

        Raises:
            PendingSchemaError: a writer's schema is not known yet, and the registry does not answer.
            ModelFailedError: the model fails.
        """
        live, values = _replayed(batch, partitions)
        with self._timed("decode"):
            readings, rejections = self._decode(values, batch.framed)
        with self._timed("validate"):
            valid, invalid = self._validate(readings, batch.key_column(), batch.broker_ts)
        with self._timed("features"):
            origin = _origin(batch, valid)
            clock, clocks = _clock(valid.readings.ts, origin, partitions)
            staged = self.windows.stage(valid.readings, origin, clock, partitions)
            is_live = live[valid.readings.row]
            windowed = staged.windowed(is_live)
            readings, origin = valid.readings.take(windowed.row), origin.take(windowed.row)
            aggregated = None
            if self.aggregates is not None:
                aggregated = self.aggregates.stage(readings, origin, clock[windowed.row], partitions, clocks)
            aggregates = None if aggregated is None else aggregated.staged.features
            features = self.plan.features(windowed.features, readings, aggregates)
        with self._timed("score"):
            predicted = predict(self.model, features)
            scored = Scored(
                readings,
                origin,
                features,
                predicted.prediction,
                windowed.in_window,
                valid.masked[windowed.row],
                windowed.imputed,
                windowed.shift,
                self._assess(readings, origin, features),
            )
            if predicted.refused:
                scored = scored.only(predicted.rows)
        with self._timed("alarms"):
            alarms = self._stage_alarms(scored)
        with self._timed("explain"):
            rows = [transition.row for transition in alarms.transitions]
            explanations = explain_rows(self.model, scored.features.take(rows)) if rows else []
        refused = [_unscorable(int(readings.row[row]), why) for row, why in predicted.refused.items()]
        made = (*rejections, *invalid, *staged.late, *refused)
        return Outcome(
            model=self.model,
            threshold=self.model.threshold_under(self.alarms.policy),
            batch=batch,
            scored=scored,
            alarms=alarms,
            explanations=explanations,
            rejections=[rejection for rejection in made if live[rejection.row]],
            deduplicated=int(is_live[staged.duplicate].sum()),
            replayed=int((~live).sum()),
            clocks=clocks,
            staged=staged,
            aggregated=aggregated,
        )

    def _stage_alarms(self, scored: Scored) -> StagedAlarms:
        partition, keys = scored.origin.partition.tolist(), scored.origin.keys
        ts, assessable = scored.readings.ts, scored.assessable
        levels = [rule.level(partial(self._seen, scored), assessable) for rule in self.alarms.rules]
        return self.alarms.stage(partition, keys, ts, scored.probability, scored.shift, levels, assessable)

    def _seen(self, scored: Scored, condition: Condition) -> Float:
        """The values that a condition is about, shape [n]."""
        if condition.field is not None:
            return scored.readings.values[:, self.sensors.index(condition.field)]
        if condition.feature is not None:
            return scored.features.numbers[:, self.model.numeric.index(condition.feature)]
        return scored.probability if condition.prediction else (~scored.assessable).astype(np.float64)

    def merge(self, outcome: Outcome, partitions: Mapping[int, Partition]) -> None:
        """Make a committed batch part of the state."""
        self.windows.merge(outcome.staged, partitions)
        if self.aggregates is not None and outcome.aggregated is not None:
            self.aggregates.merge(outcome.aggregated)
        self.alarms.merge(outcome.alarms)
        if self.windows.last is not None:
            self.windows.last.note(outcome, partitions)
        for number, next_offset in outcome.next_offsets.items():
            partition = partitions[number]
            before = partition.clock
            partition.advance(next_offset, outcome.clocks.get(number, before), self.windows.rebuild_span_ms)
            self.windows.forget_expired(partition, before)
        if self.follow is not None:
            self.follow(outcome)

    def adopt(
        self, model: Model, policy: AlarmPolicy | None, plan: FeaturePlan, windows: Windows | None = None
    ) -> None:
        """Score with another model from the next batch on; alarms and aggregates stay as they are.

        Args:
            model: the model.
            policy: its alarm policy; None: no alarms.
            plan: where its inputs come from.
            windows: that it needs; None where it needs those of the model before.
        """
        self.model, self.alarms.policy, self.plan = model, policy, plan
        self._assess = Assessor(model, self._topology)
        if windows is not None:
            self.windows = windows

    def revoke(self, partition: Partition) -> None:
        """Drop all that is held of a partition."""
        self.windows.revoke(partition)
        if self.aggregates is not None:
            self.aggregates.revoke(partition.number)
        self.alarms.revoke(partition.number)


def _unscorable(row: int, why: str) -> Rejection:
    return Rejection(row, DeadLetterReason.UNSCORABLE, why)


def _windows_of(plan: FeaturePlan, pipeline: Pipeline) -> Windows:
    if plan.spec is None:
        return NoWindows()
    return KeyedWindows(plan.spec, plan.sensors, pipeline.topology, pipeline.input.max_future_ms)


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
    policy: AlarmPolicy | None,
    writer_schema_of: WriterSchemaOf,
    timed: Timer = untimed,
    rules: tuple[Rule, ...] = (),
) -> Scorer:
    """A scorer of a pipeline's messages."""
    return Scorer(Decoder(pipeline.input, writer_schema_of), pipeline, model, policy, timed, rules)
