"""The loop: gather a batch, score it, publish and commit it, merge it; repeat."""

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
from worker.consume.progress import stalled
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
_MESSAGES_PER_CALL = 1000  # messages per call, between two checks of the size of the batch
_IDLE_S = 0.02  # how long to wait for a message before other work is done
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_ASKING_SHARE = 0.2  # largest share of the time that is spent on a registry that does not answer
_LAG_EVERY_S = 1.0


class Loop:
    """Connects the stages. All state is in assignment and scorer; a turn either commits or changes nothing."""

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
        self._failure = ""  # why the last batch was not committed
        self._timed = stage_timer(metrics)
        self._aborted = False  # the last transaction

    def run(self, stop: threading.Event) -> None:
        """Process batches until stopped. The current batch is always finished.

        Raises:
            UncertainError: restart.
            FencedError: restart, unless another worker has taken this one's place.
            UserError: the broker refuses permanently.
        """
        self._assignment.subscribe()
        self._status.turn()
        self._status.phase = "running"
        while not stop.is_set():
            try:
                self._turn()
            except FencedError:
                raise
            except UncertainError:
                # A successor of the same name fences the producer first. The next heartbeats show it in the group.
                self._rest(2.5 * self._settings.heartbeat_interval_ms / 1000)
                raise
            self._update_status()
        self._status.phase = "stopping"

    def _turn(self) -> None:
        """One batch."""
        messages = self._gather()
        try:
            self._broker_watch.check(self._consumer, self._topic)
            batch = self._wanted(messages, self._assignment.settle())
            if len(batch):
                self._process(batch)
            self._idle.turn()
        except RecreatedError:
            self._assignment.start_over()
        except DependencyDownError as down:
            self._wait_for_dependency(down)
        except AbortedError as aborted:
            self._metrics.aborts.inc()
            self._failure = str(aborted)
            self._aborted = True
            self._wait_for_dependency(DependencyDownError("broker", f"a transaction was aborted: {aborted}"))
        else:
            # While the aborted batch is being fetched again, a turn without messages is no success.
            self._aborted = self._aborted and not len(batch) and bool(self._assignment.partitions)
            if not self._aborted:
                self._pause_s = _FIRST_PAUSE_S
                self._failure = ""
                self._status.note_all_up()

    def _gather(self) -> list[Message]:
        """The messages of a batch: a single message without delay, of a backlog as many as fit."""
        settings = self._settings
        messages: list[Message] = self._consumer.consume(1, timeout=_IDLE_S)
        size = sum(map(len, messages))
        deadline = time.monotonic() + settings.linger_ms / 1000
        while messages and len(messages) < self._at_most and size < settings.batch_max_bytes:
            wanted = min(_MESSAGES_PER_CALL, self._at_most - len(messages))
            more_messages = self._consumer.consume(wanted, timeout=max(deadline - time.monotonic(), 0.0))
            messages += more_messages
            size += sum(map(len, more_messages))
            if len(more_messages) < wanted:
                break
        return messages

    def _wanted(self, messages: list[Message], settled: set[int]) -> Batch:
        """The messages of ready partitions, from the next offset of each."""
        # An error arrives as a message, too. Its value is a text, and its offset may be that of a later record.
        failed = [m for m in messages if m.error() is not None]
        for message in failed:
            self._handle_error(message)
            partition = self._assignment.partitions.get(message.partition())
            if partition is not None and is_unreadable(message):
                self._unreadable.handle(message, partition, self._scorer.windows.rebuild_span_ms)
        batch = batch_of([m for m in messages if m.error() is None] if failed else messages)
        # Messages after an unreadable batch must wait until it is known how to continue.
        ends = {m.partition(): m.offset() or 0 for m in reversed(failed) if is_unreadable(m)}
        # Messages fetched for a partition before it was (re)assigned are from the wrong offset.
        known = {n: p.next_offset for n, p in self._assignment.partitions.items() if n not in settled}
        wanted = batch.offset >= batch.by_partition(known, otherwise=np.iinfo(np.int64).max)
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
        span_ms, clocks = self._scorer.windows.rebuild_span_ms, outcome.clocks
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
        count_outcome(self._metrics, outcome, self._scorer.plan.sensors)

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
        # The records that made a batch too large may be past.
        self._at_most = min(self._at_most + self._at_most // 8 + 1, self._settings.batch_max_messages)

    def _hold_pending(self, batch: Batch, pending: PendingSchemaError, for_s: float) -> Batch:
        """Hold partitions at their first undecodable message. Earlier messages and other partitions continue."""
        first: dict[int, int] = {}
        for row in pending.rows:
            number, offset = int(batch.partition[row]), int(batch.offset[row])
            first[number] = min(offset, first.get(number, offset))
        for number in first:
            self._assignment.hold(number, str(pending), min(max(for_s, _FIRST_PAUSE_S), 10 * _LONGEST_PAUSE_S))
        # A hold may have reassigned a partition.
        ends = {number: first.get(number, np.iinfo(np.int64).max) for number in self._assignment.partitions}
        return batch.take(np.flatnonzero(batch.offset < batch.by_partition(ends, otherwise=0)))

    def _wait_for_dependency(self, down: DependencyDownError) -> None:
        """Wait, longer each time, then fetch again from the first message that is not merged."""
        note_down(self._status, down)
        self._assignment.rewind()
        self._rest(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._assignment.rewind()

    def _rest(self, for_s: float) -> None:
        """Take no messages for a while, but poll, so that the worker stays in the group."""
        self._assignment.pause()
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, 0.2))
            if message is not None and message.error() is not None:
                self._handle_error(message)
        self._assignment.resume()

    def _handle_error(self, message: Message) -> None:
        """Handle an error that arrived as a message. One that ends the consumer is raised."""
        error = message.error()
        self._group_watch.note(error, message.topic())
        _LOG.warning("consumer error", reason=error.str(), partition=message.partition())
        partition = self._assignment.partitions.get(message.partition())
        if partition is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's name
            self._assignment.reassign(partition.number)

    def _update_status(self) -> None:
        """Keep status and the slow metrics up to date."""
        status, assignment = self._status, self._assignment
        status.turn()
        partitions, waiting = assignment.partitions, assignment.waiting
        self._questions.answer(self._scorer, partitions)
        status.group = self._group_watch.reason(idle=not (partitions or waiting))
        status.partitions = {
            "ready": sorted(partitions),
            "waiting": waiting,
            "restoring": assignment.restoring,
            "held": assignment.held,
        }
        if time.monotonic() < self._lag_due:
            return
        self._lag_due = time.monotonic() + _LAG_EVERY_S
        show(self._metrics.partitions, {(state,): len(numbers) for state, numbers in status.partitions.items()})
        status.lag = lag(self._consumer, self._topic, assignment)
        unreadable = self._unreadable.reasons()
        status.stalled = stalled(assignment.ready(), status.lag, self._failure) | unreadable
        self._metrics.unreadable.set(len(unreadable))
        self._metrics.windows_held.set(self._scorer.windows.held)
        active = self._scorer.alarms.active()
        policy = self._scorer.alarms.policy
        # An alarm may be active since before a model swap, with a priority that the new policy does not have.
        priorities = {*(policy.priorities if policy else ()), *active}
        show(self._metrics.alarms_active, {(priority,): active[priority] for priority in priorities})
        show(self._metrics.lag, {(str(partition),): behind for partition, behind in status.lag.items()})
