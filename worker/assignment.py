"""Partitions come and go: rebalance events are recorded in callbacks and acted upon between batches."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.load import load_schema
from worker.alarms import AlarmState
from worker.decode import WriterSchemaOf
from worker.errors import DependencyDownError
from worker.kafka_config import admin_client, error_text
from worker.metrics import Metrics
from worker.outbox import state_from
from worker.partition import Checkpoint, Partition
from worker.pipeline import Pipeline
from worker.scoring import Scorer

_LOG = structlog.get_logger(__name__)
_TIMEOUT_S = 5.0


class Assignment:
    """The partitions this worker owns.

    Attributes:
        partitions: ready ones, by number. Messages of others are not for us (yet).
    """

    def __init__(
        self,
        consumer: Consumer,
        config: dict[str, Any],
        pipeline: Pipeline,
        scorer: Scorer,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self._consumer, self._pipeline, self._scorer, self._metrics = consumer, pipeline, scorer, metrics
        self._config, self._writer_schema_of = config, writer_schema_of
        self._admin = admin_client(config)
        self._events: deque[tuple[bool, int]] = deque()
        self._waiting: dict[int, float] = {}
        self._restoring: dict[int, float] = {}

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            [self._pipeline.input.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    # The callbacks run inside consume(), where an exception would lose the batch: they only record.
    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self._events.extend((True, p.partition) for p in partitions)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._events.extend((False, p.partition) for p in partitions)

    @property
    def waiting(self) -> list[int]:
        """Partitions assigned but not ready yet."""
        return sorted(self._waiting)

    @property
    def restoring(self) -> list[int]:
        """Partitions whose windows are being rebuilt."""
        return sorted(self._restoring)

    def settle(self) -> set[int]:
        """Drop what was revoked, make ready what was assigned, and return the numbers of the latter.

        Raises:
            DependencyDownError: the broker does not answer; call again.
        """
        while self._events:
            gained, number = self._events.popleft()
            if gained:
                self._waiting[number] = time.monotonic()
            else:
                self._drop(number)
        settled = set(self.waiting)
        for number in settled:
            self._make_ready(number)
        return settled

    def _drop(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._restoring.pop(number, None)
        partition = self.partitions.pop(number, None)
        if partition is not None:
            self._scorer.revoke(partition)
            _LOG.info("partition revoked", partition=number, next_offset=partition.next_offset)

    def _make_ready(self, number: int) -> None:
        topic = self._pipeline.input.topic
        try:
            committed = self._consumer.committed([TopicPartition(topic, number)], timeout=_TIMEOUT_S)[0]
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT_S)
            partition = self._starting_point(number, committed, low)
            states = self._alarm_states(number)
            self._consumer.seek(TopicPartition(topic, number, partition.next_offset))
            self._consumer.resume([TopicPartition(topic, number)])
        except KafkaException as error:
            raise DependencyDownError("broker", f"partition {number}: {error_text(error)}") from error
        since = self._waiting.pop(number)
        self.partitions[number] = partition
        self._scorer.alarms.assign(number, states)
        if partition.next_offset < partition.live_from:
            self._restoring[number] = since
        _LOG.info(
            "partition assigned",
            partition=number,
            rebuild_from=partition.next_offset,
            live_from=partition.live_from,
            alarm_states=len(states),
        )

    def _starting_point(self, number: int, committed: TopicPartition, low: int) -> Partition:
        if committed.offset < 0:
            return Partition(number, low, low)
        checkpoint = Checkpoint.load(committed.metadata)
        if checkpoint is None:
            # Committed by another tool: no telling how far back the windows reach, so all that is left is read.
            return Partition(number, min(low, committed.offset), committed.offset)
        if checkpoint.rebuild_from < low:
            self._metrics.restore_incomplete.inc()
            _LOG.warning("the log no longer reaches back far enough for a full rebuild", partition=number, low=low)
        live_from = max(committed.offset, low)
        return Partition(number, max(checkpoint.rebuild_from, low), live_from, checkpoint.clock)

    def _alarm_states(self, number: int) -> dict[bytes, AlarmState]:
        """The latest alarm of each key of a partition, read back from the compacted topic."""
        output = self._pipeline.outputs.alarm_state
        place = TopicPartition(output.topic, number)
        # The end as it stands whether committed or not: a predecessor's transaction may still be ending.
        spec = self._admin.list_offsets(
            {place: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
        )
        end = spec[place].result().offset
        reader, schema = Consumer(_reader_config(self._config)), load_schema(output.schema_name)
        states: dict[bytes, AlarmState] = {}
        try:
            low, _ = reader.get_watermark_offsets(place, timeout=_TIMEOUT_S)
            reader.assign([TopicPartition(output.topic, number, low)])
            deadline = time.monotonic() + _TIMEOUT_S
            at = low
            while at < end:
                for message in reader.consume(10_000, timeout=0.2):
                    if message.error() is not None:
                        continue
                    states.pop(message.key(), None)
                    try:
                        if message.value() is not None:
                            states[message.key()] = state_from(decode(message.value(), self._writer_schema_of, schema))
                    except UnreadableValueError as error:
                        # Somebody else wrote it. The key starts from normal, and its next change overwrites it.
                        _LOG.error("unreadable alarm state", key=str(message.key()), reason=str(error))
                    deadline = time.monotonic() + _TIMEOUT_S
                position = reader.position([place])[0].offset
                at = max(at, position)
                if time.monotonic() > deadline:
                    raise DependencyDownError(
                        "broker", f"{output.topic}/{number} ends at {end} and is readable to {at}"
                    )
        finally:
            reader.close()
        return states

    def progressed(self) -> None:
        """Note which rebuilds have ended."""
        for number, since in list(self._restoring.items()):
            partition = self.partitions[number]
            if partition.next_offset >= partition.live_from:
                del self._restoring[number]
                seconds = time.monotonic() - since
                self._metrics.restore_seconds.observe(seconds)
                _LOG.info("windows rebuilt", partition=number, seconds=round(seconds, 3), keys=len(partition.slots))

    def rewind(self) -> None:
        """Consume again from the first message not merged."""
        for number, partition in self.partitions.items():
            self._each(self._consumer.seek, number, partition.next_offset)

    def pause(self) -> None:
        """Take no messages, while still polling, so that the group does not give us up."""
        for number in self.partitions:
            self._each(lambda place: self._consumer.pause([place]), number, 0)

    def resume(self) -> None:
        """End a pause."""
        for number in self.partitions:
            self._each(lambda place: self._consumer.resume([place]), number, 0)

    def _each(self, act: Callable[[TopicPartition], None], number: int, offset: int) -> None:
        try:
            act(TopicPartition(self._pipeline.input.topic, number, offset))
        except KafkaException as error:
            # Revoked meanwhile: the event that says so is on its way.
            _LOG.info("partition is gone", partition=number, reason=error_text(error))


def _reader_config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {
        "group.id": "hazardstream-unused",  # required by the client, never joined
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
