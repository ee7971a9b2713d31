"""Assigned partitions. Callbacks only record rebalance events; the loop handles these between two batches."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from common.errors import DependencyDownError
from worker.config.pipeline import Pipeline
from worker.consume.assigned_partition import AssignedPartition, Hold
from worker.kafka.client_config import error_text
from worker.kafka.topic_identity import TopicWatch, identities
from worker.kafka.topic_reader import LOOP_PATIENCE_S, TopicReader
from worker.observe.metrics import Metrics
from worker.recover.alarm_state import AlarmRestore
from worker.recover.replay_exclusions import replay_exclusions
from worker.recover.start_offsets import Start, StartOffsets
from worker.score.decode import WriterSchemaOf
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_READ_FOR_S = 0.05


class Assignment:
    """The partitions that this worker owns.

    Attributes:
        assigned: by partition, all that is known of it. A revoke drops the whole entry.
        topic: the input topic.
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
        """For `margin` and `beat`, see `StartOffsets`."""
        self.assigned: dict[int, AssignedPartition] = {}
        self._consumer, self._pipeline, self._scorer, self._metrics = consumer, pipeline, scorer, metrics
        self._admin, self._config, self._beat = admin, config, beat
        self.topic = TopicWatch(admin, pipeline.input.topic)
        self._starts = StartOffsets(consumer, admin, config, pipeline, writer_schema_of, metrics, margin, beat)
        self._alarm_restore = AlarmRestore(config, pipeline, writer_schema_of, metrics, beat)
        self._events: deque[tuple[bool, int]] = deque()
        self._subscribed = False

    def subscribe(self) -> None:
        """Join the group, unless that was done before."""
        if self._subscribed:
            return
        self._subscribed = True
        self._consumer.subscribe(
            [self._pipeline.input.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    # The callbacks run inside consume(), where an exception would lose the batch, so they only record events. A
    # revoke therefore waits for the current batch, which commits or aborts within the transaction timeout.
    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The offset does not matter: the partition stays paused until its start offset is known.
        places = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        self._events.extend((True, p.partition) for p in partitions)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._events.extend((False, p.partition) for p in partitions)

    def ready(self) -> Iterator[tuple[AssignedPartition, Partition]]:
        """The partitions that have been taken over. Messages are taken only of those that are not held."""
        return ((each, each.partition) for each in self.assigned.values() if each.partition is not None)

    @property
    def partitions(self) -> dict[int, Partition]:
        """Offsets and windows of the ready partitions. Messages of other partitions are dropped."""
        return {each.number: partition for each, partition in self.ready()}

    @property
    def waiting(self) -> dict[int, str]:
        """By partition, why it is not ready yet."""
        return {n: each.reason for n, each in sorted(self.assigned.items()) if each.partition is None}

    @property
    def restoring(self) -> list[int]:
        """Partitions whose windows are being rebuilt."""
        return sorted(each.number for each, _ in self.ready() if not each.rebuilt)

    @property
    def held(self) -> dict[int, str]:
        """By partition, why it takes no messages for now."""
        return {n: each.hold.reason for n, each in self.assigned.items() if each.hold}

    def settle(self) -> set[int]:
        """Drop revoked partitions, continue to take over assigned ones, and release those held for long enough.

        Returns:
            Partitions that became ready. Messages fetched for them before are from the wrong offset.
        """
        self._note_events()
        now = time.monotonic()
        if unknown := [each for each in self._due(now) if each.start is None]:
            self._look_up(unknown)
        # Wait for alarm states only if there is nothing else to do.
        self._alarm_restore.advance(0.0 if any(self.ready()) else _READ_FOR_S)
        ready = {each.number for each in self._due(now) if each.start and self._make_ready(each, each.start)}
        for each, partition in [*self.ready()]:
            if each.hold and each.hold.until <= now:
                each.hold = None
                self._seek(partition)
                if self.assigned[each.number] is each:  # unless a failed seek has reassigned the partition
                    self._steer(self._consumer.resume, [each.number])
        return ready

    def _due(self, now: float) -> list[AssignedPartition]:
        """Waiting partitions for which it is time to try again."""
        return [each for each in self.assigned.values() if each.partition is None and each.retry_at <= now]

    def _note_events(self) -> None:
        while self._events:
            gained, number = self._events.popleft()
            self._drop(number)
            if gained:
                self.assigned[number] = AssignedPartition(number)

    def _drop(self, number: int) -> None:
        self._alarm_restore.drop(number)
        dropped = self.assigned.pop(number, None)
        if dropped is not None and dropped.partition is not None:
            self._scorer.revoke(dropped.partition)
            _LOG.info("partition given up", partition=number, next_offset=dropped.partition.next_offset)

    def _look_up(self, due: list[AssignedPartition]) -> None:
        topic = self._pipeline.input.topic
        try:
            topics = identities(self._admin, self._pipeline.topics.values())
            reason = "" if topic in topics else f"there is no topic {topic}"
        except DependencyDownError as down:
            reason = str(down)
        if reason:
            for each in due:
                each.put_off(reason)
            return
        if self.topic.topic_id not in {"", topics[topic].topic_id}:
            self.start_over()
            return
        self.topic.begin(topics[topic].topic_id)
        states = self._pipeline.topics.get("alarm_state", "")
        states_id = topics[states].topic_id if states in topics else ""
        found = self._starts.of([each.number for each in due], topics, self._scorer.windows.rebuild_span_ms)
        for number, start in found.items():
            each = self.assigned[number]
            if isinstance(start, str):
                each.put_off(start)
                continue
            try:
                self._exclude_dead_letters(start.partition)
                self._alarm_restore.begin(start.partition, start.alarm_states, states_id)
            except DependencyDownError as down:
                each.put_off(str(down))
            else:
                each.start = start

    def _exclude_dead_letters(self, partition: Partition) -> None:
        if partition.next_offset < partition.live_from:
            with TopicReader(self._config, LOOP_PATIENCE_S) as reader:
                topic_id = self.topic.topic_id
                partition.exclusions = replay_exclusions(reader, self._pipeline, topic_id, partition, self._beat)

    def place(self, partition: Partition, offset: int, clock: int, span_ms: int) -> TopicPartition:
        """An offset to commit, at which the stream time is `clock`, with its checkpoint."""
        metadata = partition.checkpoint(clock, span_ms).dump(self.topic.topic_id, partition.states_id)
        return TopicPartition(self._pipeline.input.topic, partition.number, offset, metadata)

    def start_over(self) -> None:
        """Take over every partition again, because the input topic was created again."""
        _LOG.error("the input topic was deleted and created again", topic=self._pipeline.input.topic)
        self._metrics.recreated.labels("input").inc()
        self.topic.begin("")
        for number in list(self.assigned):
            self.reassign(number)

    def _make_ready(self, assigned: AssignedPartition, start: Start) -> bool:
        number, partition = assigned.number, start.partition
        if missing := self._alarm_restore.missing(number):
            assigned.reason = missing
            return False
        try:
            states = self._alarm_restore.states(number)
            place = TopicPartition(self._pipeline.input.topic, number, partition.next_offset)
            self._consumer.seek(place)
            self._consumer.resume([place])
        except DependencyDownError as down:
            assigned.put_off(str(down))
            return False
        except KafkaException as error:
            assigned.start = None
            assigned.put_off(f"broker: {error_text(error)}")
            return False
        assigned.partition = partition
        self._scorer.alarms.assign(number, states)
        self._report_gaps(number, start)
        _LOG.info(
            "partition assigned",
            partition=number,
            rebuild_from=partition.next_offset,
            live_from=partition.live_from,
            alarm_states=len(states),
        )
        self.progressed()
        return True

    def _report_gaps(self, number: int, start: Start) -> None:
        live_from = start.partition.live_from
        if start.lost:
            self._metrics.lost.inc(start.lost)
            _LOG.error(
                "records were deleted before they were read: raise retention.ms above the workers' longest downtime",
                partition=number,
                first=live_from - start.lost,
                last=live_from - 1,
            )
        if start.incomplete:
            self._metrics.restore_incomplete.inc()
            _LOG.warning("the log no longer reaches back far enough for a full rebuild", partition=number)

    def progressed(self) -> None:
        """Note which rebuilds have ended."""
        for each, partition in self.ready():
            if (seconds := each.restored()) is None:
                continue
            self._metrics.restore_seconds.observe(seconds)
            _LOG.info("windows rebuilt", partition=each.number, seconds=round(seconds, 3), keys=len(partition.slots))

    def hold(self, number: int, reason: str, for_s: float) -> None:
        """Take no messages of a partition for `for_s` seconds; then continue at the same offset."""
        if (each := self.assigned.get(number)) is None:
            return  # revoked; a side output may still have had a record of it
        _LOG.warning("partition held", partition=number, reason=reason, seconds=round(for_s, 1))
        each.hold = Hold(time.monotonic() + for_s, reason)
        self._steer(self._consumer.pause, [number])

    def rewind(self) -> None:
        """Consume again from the first message not merged."""
        self._note_events()
        for _, partition in [*self.ready()]:
            self._seek(partition)

    def pause(self) -> None:
        """Take no messages. The caller keeps polling, so that the worker stays in the group."""
        self._steer(self._consumer.pause, list(self.partitions))

    def resume(self) -> None:
        """End a pause."""
        self._note_events()
        self._steer(self._consumer.resume, [each.number for each, _ in self.ready() if not each.hold])

    def _seek(self, partition: Partition) -> None:
        self._steer(lambda places: self._consumer.seek(places[0]), [partition.number], partition.next_offset)

    def _steer(self, act: Callable[[list[TopicPartition]], None], numbers: list[int], offset: int = 0) -> None:
        for number in numbers:
            try:
                act([TopicPartition(self._pipeline.input.topic, number, offset)])
            except KafkaException as error:
                # Either it was revoked and the event has not arrived yet, or taking it over again corrects it.
                _LOG.warning("partition cannot be steered", partition=number, reason=error_text(error))
                self.reassign(number)

    def reassign(self, number: int) -> None:
        """Restart a partition at its committed offset, as if it had just been assigned."""
        before = self.assigned.get(number)
        since = before.since if before and before.partition is None else time.monotonic()
        self._drop(number)
        self.assigned[number] = AssignedPartition(number, since)
        places = [TopicPartition(self._pipeline.input.topic, number, OFFSET_BEGINNING)]
        try:
            # After an offset out of range, librdkafka no longer fetches the partition until it is assigned again.
            if any(p.partition == number for p in self._consumer.assignment()):
                self._consumer.incremental_unassign(places)
                self._consumer.incremental_assign(places)
                self._consumer.pause(places)
        except KafkaException as error:
            _LOG.warning("partition cannot be reassigned", partition=number, reason=error_text(error))
