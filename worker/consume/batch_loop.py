"""The loop: gather a micro-batch, score it, publish and commit it, merge it; and again."""

import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from common.errors import (
    DependencyDownError,
    FencedError,
    PendingSchemaError,
    RecreatedError,
    UncertainError,
)
from worker.config.settings import Settings
from worker.consume.assignment import Assignment
from worker.consume.broker_watch import BrokerWatch
from worker.consume.group_watch import GroupWatch
from worker.consume.idle import Idle, lag
from worker.consume.message_columns import batch_of
from worker.consume.outcome_metrics import count_outcome
from worker.consume.progress import Progress
from worker.consume.unreadable import Unreadable
from worker.encode.encoder import Encoder
from worker.encode.output_limits import OutputLimits
from worker.encode.side_output import SideOutput
from worker.kafka.message import is_unreadable
from worker.kafka.publisher import AbortedError, Publisher
from worker.kafka.records import Outgoing
from worker.observe.dependency_wait import note_down
from worker.observe.loop_questions import LoopQuestions
from worker.observe.metrics import Metrics, show
from worker.observe.stage_timer import stage_timer
from worker.observe.worker_status import Status
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.scorer import Scorer

_LOG = structlog.get_logger(__name__)
_GULP = 1000  # messages at a time, between two looks at how many bytes have come together
_IDLE_S = 0.02  # without messages, until the next look at all else
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_ASKING_SHARE = 0.2  # of the time at most is spent on asking a registry that does not answer
_LAG_EVERY_S = 1.0


class Loop:
    """Ties the stages together. All state is in assignment and scorer; a turn either commits or leaves no trace."""

    def __init__(
        self,
        *,
        settings: Settings,
        topic: str,
        consumer: Consumer,
        broker_watch: BrokerWatch,
        group_watch: GroupWatch,
        assignment: Assignment,
        scorer: Scorer,
        encoder: Encoder,
        side_outputs: Sequence[SideOutput],
        publisher: Publisher,
        limits: OutputLimits,
        unreadable: Unreadable,
        metrics: Metrics,
        status: Status,
        questions: LoopQuestions,
    ) -> None:
        self._settings, self._topic, self._consumer = settings, topic, consumer
        self._broker_watch, self._group_watch = broker_watch, group_watch
        self._assignment, self._scorer, self._encoder = assignment, scorer, encoder
        self._side_outputs = side_outputs
        self._publisher, self._metrics, self._status = publisher, metrics, status
        self._idle = Idle(topic, consumer, assignment, scorer, publisher)
        self._lag_due = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._limits, self._unreadable, self._questions = limits, unreadable, questions
        self._at_most = settings.batch_max_messages
        self._progress = Progress()
        self._timed = stage_timer(metrics)
        self._aborted = False  # the last transaction

    def run(self, stop: threading.Event) -> None:
        """Turn until stopped. The batch in hand is always finished.

        Raises:
            UncertainError: restart.
            FencedError: restart, unless another worker has taken this one's place.
            UserError: the broker refuses for good.
        """
        self._assignment.subscribe()
        self._status.phase = "running"
        while not stop.is_set():
            try:
                self._turn()
            except FencedError:
                raise
            except UncertainError:
                # A successor of this name fences the producer first; the group tells of it with a next heartbeat.
                self._rest(2.5 * self._settings.heartbeat_interval_ms / 1000)
                raise
            self._tell()
        self._status.phase = "stopping"

    def _turn(self) -> None:
        """One batch."""
        messages = self._gather()
        try:
            self._broker_watch.check(self._consumer, self._topic)
            batch = self._ours(messages, self._assignment.settle())
            if len(batch):
                self._process(batch)
            self._idle.turn()
        except RecreatedError:
            self._assignment.start_over()
        except DependencyDownError as down:
            self._sit_out(down)
        except AbortedError as aborted:
            self._metrics.aborts.inc()
            self._progress.failed(str(aborted))
            self._aborted = True
            self._sit_out(DependencyDownError("broker", f"a transaction was aborted: {aborted}"))
        else:
            # While the aborted batch is being fetched again, a turn without messages says nothing.
            self._aborted = self._aborted and not len(batch) and bool(self._assignment.partitions)
            if not self._aborted:
                self._pause_s = _FIRST_PAUSE_S
                self._progress.failed("")
                self._status.down.clear()

    def _gather(self) -> list[Message]:
        """What has come: a lone message soon, of a backlog as much as makes a batch."""
        settings = self._settings
        messages: list[Message] = self._consumer.consume(1, timeout=_IDLE_S)
        size = sum(map(len, messages))
        deadline = time.monotonic() + settings.linger_ms / 1000
        while messages and len(messages) < self._at_most and size < settings.batch_max_bytes:
            wanted = min(_GULP, self._at_most - len(messages))
            gulp = self._consumer.consume(wanted, timeout=max(deadline - time.monotonic(), 0.0))
            messages += gulp
            size += sum(map(len, gulp))
            if len(gulp) < wanted:
                break
        return messages

    def _ours(self, messages: list[Message], settled: set[int]) -> Batch:
        """The messages of partitions that are ready, from where each partition stands."""
        # An error comes as a message too, with the offset of a record that is still to come and words for a value.
        failed = [m for m in messages if m.error() is not None]
        for message in failed:
            self._heed(message)
            partition = self._assignment.partitions.get(message.partition())
            if partition is not None and is_unreadable(message):
                self._unreadable.met(message, partition, self._scorer.state.rebuild_span_ms)
        batch = batch_of([m for m in messages if m.error() is None] if failed else messages)
        # What comes behind a batch that could not be read must not be taken for what comes next.
        ends = {m.partition(): m.offset() or 0 for m in reversed(failed) if is_unreadable(m)}
        # What was fetched for a partition before it was (re)assigned is from the wrong place.
        known = {n: p.next_offset for n, p in self._assignment.partitions.items() if n not in settled}
        nowhere = np.iinfo(np.int64).max
        due = np.array([known.get(n, nowhere) for n in batch.partition.tolist()], np.int64)
        wanted = batch.offset >= due
        for number, end in ends.items():
            wanted &= (batch.partition != number) | (batch.offset < end)
        return batch if wanted.all() else batch.take(np.flatnonzero(wanted))

    def _process(self, batch: Batch) -> None:
        partitions = self._assignment.partitions
        self._assignment.topic.ask()
        started = time.monotonic()
        try:
            outcome = self._scorer.process(batch, partitions)
        except PendingSchemaError as pending:
            batch = self._hold_pending(batch, pending, (time.monotonic() - started) / _ASKING_SHARE)
            if not len(batch):
                return
            outcome = self._scorer.process(batch, partitions)
        span_ms, clocks = self._scorer.state.rebuild_span_ms, outcome.clocks
        offsets = [
            self._assignment.place(partitions[number], offset, clocks.get(number, partitions[number].clock), span_ms)
            for number, offset in outcome.next_offsets.items()
            if offset > partitions[number].live_from
        ]
        if offsets:
            try:
                self._publish(outcome, offsets)
            except Exception:
                for side_output in self._side_outputs:
                    side_output.aborted()
                raise
            self._status.note_commit()
        with self._timed("side_outputs"):
            for side_output in self._side_outputs:
                side_output.committed(outcome)
        self._scorer.merge(outcome, partitions)
        self._assignment.progressed()
        count_outcome(self._metrics, outcome, self._scorer.package.spec.sensors)

    def _publish(self, outcome: Outcome, offsets: list[TopicPartition]) -> None:
        """All records of a batch and its offsets, in one transaction."""
        partitions = self._assignment.partitions
        with self._timed("encode"):
            for side_output in self._side_outputs:
                side_output.begin(outcome, partitions)
            outgoing = self._encoder.records(outcome, self._assignment.topic.topic_id)
            for side_output in self._side_outputs:
                more = side_output.records(outcome, partitions)
                outgoing.bulk.update(more.bulk)
                outgoing.records.extend(more.records)
        with self._timed("publish"):
            self._assignment.topic.confirm()
            self._commit(outcome.batch, outgoing, offsets)

    def _commit(self, batch: Batch, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        try:
            self._publisher.commit(outgoing, offsets)
        except AbortedError as aborted:
            if aborted.too_large:
                held = self._limits.look_again(outgoing)
                for number, reason in held.items():
                    self._assignment.hold(number, reason, _LONGEST_PAUSE_S)
                self._pause_s = _FIRST_PAUSE_S
                if not held:
                    self._at_most = max(len(batch) // 2, 1)
                    _LOG.warning("batches were too large for a topic: taking fewer messages", at_most=self._at_most)
            raise
        # Whatever it was that made a batch too large may be long past.
        self._at_most = min(self._at_most + self._at_most // 8 + 1, self._settings.batch_max_messages)

    def _hold_pending(self, batch: Batch, pending: PendingSchemaError, for_s: float) -> Batch:
        """Hold partitions at their first undecodable message; what comes before it, and other partitions, go on."""
        first: dict[int, int] = {}
        for row in pending.rows:
            number, offset = int(batch.partition[row]), int(batch.offset[row])
            first[number] = min(offset, first.get(number, offset))
        for number in first:
            self._assignment.hold(number, str(pending), min(max(for_s, _FIRST_PAUSE_S), 10 * _LONGEST_PAUSE_S))
        partitions = self._assignment.partitions
        ends = [first.get(n, sys.maxsize) if n in partitions else 0 for n in batch.partition.tolist()]
        return batch.take(np.flatnonzero(batch.offset < np.array(ends, np.int64)))

    def _sit_out(self, down: DependencyDownError) -> None:
        """Wait a while, longer each time, then take what is not merged again."""
        note_down(self._status, down)
        self._assignment.rewind()
        self._rest(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._assignment.rewind()

    def _rest(self, for_s: float) -> None:
        """Take no messages for a while, still polling, so that the group keeps us."""
        self._assignment.pause()
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, 0.2))
            if message is not None and message.error() is not None:
                self._heed(message)
        self._assignment.resume()

    def _heed(self, message: Message) -> None:
        """Take note of an error that came as a message; those that end the consumer for good are raised."""
        error = message.error()
        self._group_watch.note(error, message.topic())
        _LOG.warning("consumer error", reason=error.str(), partition=message.partition())
        partition = self._assignment.partitions.get(message.partition())
        if partition is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's name
            self._assignment.reassign(partition.number)

    def _tell(self) -> None:
        """Keep status and the slow metrics up to date."""
        status, assignment = self._status, self._assignment
        status.turn()
        self._questions.answer(self._scorer, assignment.partitions)
        status.group = self._group_watch.reason(idle=not (assignment.partitions or assignment.waiting))
        status.partitions = {
            "ready": sorted(assignment.partitions),
            "waiting": assignment.waiting,
            "restoring": assignment.restoring,
            "held": assignment.held,
        }
        if time.monotonic() < self._lag_due:
            return
        self._lag_due = time.monotonic() + _LAG_EVERY_S
        show(self._metrics.partitions, {state: len(numbers) for state, numbers in status.partitions.items()})
        status.lag = lag(self._consumer, self._topic, assignment)
        unreadable = self._unreadable.reasons()
        status.stalled = self._progress.stalled(assignment.ready(), status.lag) | unreadable
        self._metrics.unreadable.set(len(unreadable))
        self._metrics.windows_held.set(self._scorer.state.held)
        active = self._scorer.alarms.active()
        # An alarm may stand since before a change of model, with a priority that is no more.
        priorities = {*self._scorer.alarms.policy.priorities, *active}
        show(self._metrics.alarms_active, {priority: active[priority] for priority in priorities})
        show(self._metrics.lag, status.lag)
