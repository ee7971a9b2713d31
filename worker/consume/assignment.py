"""Partitions come and go: rebalance events are recorded in callbacks and acted upon between batches."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from common.errors import DependencyDownError
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text
from worker.kafka.topic_identity import TopicWatch, identities
from worker.kafka.topic_reader import LOOP_PATIENCE_S, TopicReader
from worker.observe.metrics import Metrics
from worker.recover.alarm_state import AlarmRestore
from worker.recover.replay_exclusions import replay_exclusions
from worker.recover.start_offsets import Start, StartOffsets
from worker.score.decode import WriterSchemaOf
from worker.score.scorer import Scorer

if TYPE_CHECKING:
    from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_READ_FOR_S = 0.05


@dataclass
class _Waiting:
    """A partition that is assigned and not ready: since when, when to try again, how long to pause then, and why."""

    since: float
    due: float
    pause_s: float = _FIRST_PAUSE_S
    start: Start | None = None
    reason: str = "it is being taken over"


class Assignment:
    """The partitions this worker owns.

    Attributes:
        partitions: ready ones, by number. Messages of others are not for us (yet).
        held: ready ones that cannot go on for now -> when to try again, and why.
        topic: the input topic that they are of.
    """

    def __init__(
        self,
        consumer: Consumer,
        admin: AdminClient,
        config: dict[str, Any],
        pipeline: Pipeline,
        scorer: Scorer,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
        margin: int = 0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Margin and beat: see `StartOffsets`."""
        self.partitions: dict[int, Partition] = {}
        self.held: dict[int, tuple[float, str]] = {}
        self._consumer, self._pipeline, self._scorer, self._metrics = consumer, pipeline, scorer, metrics
        self._admin, self._config, self._beat = admin, config, beat
        self.topic = TopicWatch(admin, pipeline.input.topic)
        self._starts = StartOffsets(consumer, admin, config, pipeline, writer_schema_of, metrics, margin, beat)
        self._alarm_restore = AlarmRestore(config, pipeline, writer_schema_of, metrics, beat)
        self._events: deque[tuple[bool, int]] = deque()
        self._waiting: dict[int, _Waiting] = {}
        self._subscribed = False
        self._restoring: dict[int, float] = {}

    def subscribe(self) -> None:
        """Join the group, if that was not done before."""
        if self._subscribed:
            return
        self._subscribed = True
        self._consumer.subscribe(
            [self._pipeline.input.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    # The callbacks run inside consume(), where an exception would lose the batch: they only record. So a revoke
    # waits for the batch in hand, which ends, committed or aborted, within the transaction's timeout.
    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # From the beginning only in name: nothing is taken before it is known from where.
        places = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        self._events.extend((True, p.partition) for p in partitions)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._events.extend((False, p.partition) for p in partitions)

    @property
    def waiting(self) -> dict[int, str]:
        """Partitions assigned but not ready yet, and why."""
        return {number: waiting.reason for number, waiting in sorted(self._waiting.items())}

    @property
    def restoring(self) -> list[int]:
        """Partitions whose windows are being rebuilt."""
        return sorted(self._restoring)

    def settle(self) -> set[int]:
        """Drop what was revoked, go on with taking over what was assigned, and let go on what was held long enough.

        Returns:
            Partitions that became ready: what was fetched for them before is from the wrong place.
        """
        self._note_events()
        now = time.monotonic()
        if due := [n for n, w in self._waiting.items() if w.start is None and w.due <= now]:
            self._look_up(due)
        # Only who has nothing else to do waits for the alarm state.
        self._alarm_restore.advance(0.0 if self.partitions else _READ_FOR_S)
        ready = {n for n, w in list(self._waiting.items()) if w.start and w.due <= now and self._make_ready(n, w.start)}
        for number in [n for n, (due_s, _) in self.held.items() if due_s <= now]:
            del self.held[number]
            self._seek(number)
            self._each(self._consumer.resume, [number] if number in self.partitions else [])
        return ready

    def _note_events(self) -> None:
        while self._events:
            gained, number = self._events.popleft()
            self._drop(number)
            if gained:
                self._waiting[number] = _Waiting(time.monotonic(), 0.0)

    def _drop(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._restoring.pop(number, None)
        self.held.pop(number, None)
        self._alarm_restore.drop(number)
        partition = self.partitions.pop(number, None)
        if partition is not None:
            self._scorer.revoke(partition)
            _LOG.info("partition given up", partition=number, next_offset=partition.next_offset)

    def _look_up(self, due: list[int]) -> None:
        topic = self._pipeline.input.topic
        try:
            topics = identities(self._admin, self._pipeline.topics.values())
            reason = "" if topic in topics else f"there is no topic {topic}"
        except DependencyDownError as down:
            reason = str(down)
        if reason:
            for number in due:
                self._put_off(number, self._waiting[number], reason)
            return
        if self.topic.topic_id not in {"", topics[topic].topic_id}:
            self.start_over()
            return
        self.topic.begin(topics[topic].topic_id)
        states_id = topics[states].topic_id if (states := self._pipeline.outputs.alarm_state.topic) in topics else ""
        found = self._starts.of(due, topics, self._scorer.state.rebuild_span_ms)
        with TopicReader(self._config, LOOP_PATIENCE_S) as reader:
            for number, start in found.items():
                waiting = self._waiting[number]
                if isinstance(start, str):
                    self._put_off(number, waiting, start)
                    continue
                partition, topic = start.partition, self.topic.topic_id
                try:
                    partition.exclusions = replay_exclusions(reader, self._pipeline, topic, partition, self._beat)
                    self._alarm_restore.begin(partition, start.alarm_states, states_id)
                except DependencyDownError as down:
                    self._put_off(number, waiting, str(down))
                else:
                    waiting.start = start

    def place(self, number: int, offset: int, clock: int, span_ms: int) -> TopicPartition:
        """An offset to commit, at which the stream time is `clock`, with its checkpoint."""
        partition = self.partitions[number]
        metadata = partition.checkpoint(clock, span_ms).dump(self.topic.topic_id, partition.states_id)
        return TopicPartition(self._pipeline.input.topic, number, offset, metadata)

    def start_over(self) -> None:
        """Take every partition over again, of the topic that the input is now."""
        _LOG.error("the input topic was deleted and created again", topic=self._pipeline.input.topic)
        self._metrics.recreated.labels("input").inc()
        self.topic.begin("")
        for number in {*self.partitions, *self._waiting}:
            self.reassign(number)

    def _put_off(self, number: int, waiting: _Waiting, reason: str) -> None:
        if reason != waiting.reason:
            _LOG.warning("partition has to wait", partition=number, reason=reason)
        waiting.due, waiting.reason = time.monotonic() + waiting.pause_s, reason
        waiting.pause_s = min(2 * waiting.pause_s, _LONGEST_PAUSE_S)

    def _make_ready(self, number: int, start: Start) -> bool:
        waiting, partition = self._waiting[number], start.partition
        if missing := self._alarm_restore.missing(number):
            waiting.reason = missing
            return False
        try:
            states = self._alarm_restore.states(number)
            place = TopicPartition(self._pipeline.input.topic, number, partition.next_offset)
            self._consumer.seek(place)
            self._consumer.resume([place])
        except DependencyDownError as down:
            self._put_off(number, waiting, str(down))
            return False
        except KafkaException as error:
            waiting.start = None
            self._put_off(number, waiting, f"broker: {error_text(error)}")
            return False
        del self._waiting[number]
        self.partitions[number] = start.partition
        self._scorer.alarms.assign(number, states)
        self._restoring[number] = waiting.since
        self._tell_gaps(number, start)
        _LOG.info(
            "partition assigned",
            partition=number,
            rebuild_from=partition.next_offset,
            live_from=partition.live_from,
            alarm_states=len(states),
        )
        self.progressed()
        return True

    def _tell_gaps(self, number: int, start: Start) -> None:
        live_from = start.partition.live_from
        if start.lost:
            self._metrics.lost.inc(start.lost)
            _LOG.error(
                "records were deleted before they were read: keep them for longer (retention.ms) than workers are away",
                partition=number,
                first=live_from - start.lost,
                last=live_from - 1,
            )
        if start.incomplete:
            self._metrics.restore_incomplete.inc()
            _LOG.warning("the log no longer reaches back far enough for a full rebuild", partition=number)

    def progressed(self) -> None:
        """Note which rebuilds have ended."""
        for number, since in list(self._restoring.items()):
            partition = self.partitions[number]
            if partition.next_offset >= partition.live_from:
                del self._restoring[number]
                seconds = time.monotonic() - since
                self._metrics.restore_seconds.observe(seconds)
                _LOG.info("windows rebuilt", partition=number, seconds=round(seconds, 3), keys=len(partition.slots))

    def hold(self, number: int, reason: str, for_s: float) -> None:
        """Take no more messages of a partition for so many seconds; then go on where it stands."""
        _LOG.warning("partition held", partition=number, reason=reason, seconds=round(for_s, 1))
        self.held[number] = time.monotonic() + for_s, reason
        self._each(self._consumer.pause, [number])

    def rewind(self) -> None:
        """Consume again from the first message not merged."""
        self._note_events()
        for number in list(self.partitions):
            self._seek(number)

    def pause(self) -> None:
        """Take no messages, while still polling, so that the group does not give us up."""
        self._each(self._consumer.pause, list(self.partitions))

    def resume(self) -> None:
        """End a pause."""
        self._note_events()
        self._each(self._consumer.resume, [n for n in self.partitions if n not in self.held])

    def _seek(self, number: int) -> None:
        offset = self.partitions[number].next_offset
        self._each(lambda places: self._consumer.seek(places[0]), [number], offset)

    def _each(self, act: Callable[[list[TopicPartition]], None], numbers: list[int], offset: int = 0) -> None:
        for number in numbers:
            try:
                act([TopicPartition(self._pipeline.input.topic, number, offset)])
            except KafkaException as error:
                # Revoked meanwhile, and the event that says so is on its way; or else to be put right by a new start.
                _LOG.warning("partition cannot be steered", partition=number, reason=error_text(error))
                self.reassign(number)

    def reassign(self, number: int) -> None:
        """Begin a partition again from what is committed, as if it had just been assigned."""
        since = self._waiting[number].since if number in self._waiting else time.monotonic()
        self._drop(number)
        self._waiting[number] = _Waiting(since, 0.0)
        places = [TopicPartition(self._pipeline.input.topic, number, OFFSET_BEGINNING)]
        try:
            # Where an offset was not there, librdkafka has given the partition up, and only this brings it back.
            if any(p.partition == number for p in self._consumer.assignment()):
                self._consumer.incremental_unassign(places)
                self._consumer.incremental_assign(places)
                self._consumer.pause(places)
        except KafkaException as error:
            _LOG.warning("partition cannot be reassigned", partition=number, reason=error_text(error))
