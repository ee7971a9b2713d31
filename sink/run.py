"""The loop of a sink: reads batches of several topics and stores each with its offsets, until it is asked to stop."""

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from common.errors import DependencyDownError, RecreatedError, UserError
from sink.assignment import Assigned, Assignment
from sink.batch import FencedError, Part, Store, part_of
from sink.metrics import SinkMetrics
from sink.rows import Table
from worker.kafka.client_config import ReportingConsumer, admin_client, consumer, error_text
from worker.kafka.message import is_unreadable, value_of

_LOG = structlog.get_logger(__name__)
_POLL_S, _TIMEOUT_S = 0.2, 10.0
_AT_A_TIME = 2_000
_DEFAULTS = {
    "queued.max.messages.kbytes": 65_536,
    "queued.min.messages": 20_000,
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 100,
    "session.timeout.ms": 10_000,
}
# Of the consumer, when the partition has to be assigned again at a place that the destination knows.
_OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - librdkafka's name


class Limits(NamedTuple):
    """When a batch is stored: as soon as one of these is reached.

    Attributes:
        seconds: since its first message.
    """

    seconds: float
    messages: int
    megabytes: int


def sink_consumer(config: Mapping[str, Any], group: str, instance_id: str | None) -> ReportingConsumer:
    """The consumer of a sink.

    Raises:
        UserError: librdkafka refuses a property.
    """
    static = {"group.instance.id": instance_id} if instance_id else {}
    fixed = static | {
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        # The destination says where to start. An offset out of range is reported instead of skipping records.
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return consumer(config, fixed, _DEFAULTS)


class Sink:
    """Stores the records of topics.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        reader: see `sink_consumer`.
        tables: to fill.
        store: the destination.
        limits: of a batch.
        metrics: of this sink.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        reader: ReportingConsumer,
        tables: list[Table],
        store: Store,
        limits: Limits,
        metrics: SinkMetrics,
    ) -> None:
        self._consumer, self._store, self._limits, self._metrics = reader, store, limits, metrics
        self._tables = {table.topic: table for table in tables}
        names = {topic: table.name for topic, table in self._tables.items()}
        self._assignment = Assignment(reader, admin_client(config), names, store, metrics)
        self._batch: dict[tuple[str, int], list[Message]] = {}
        self._messages = self._bytes = 0
        self._due = 0.0

    def run(self, stop: threading.Event) -> None:
        """Store records until `stop` is set."""
        self._assignment.subscribe()
        while not stop.is_set():
            self._turn()
        self._store_batch()

    def run_once(self, stop: threading.Event) -> bool:
        """Store all records up to the ends of the topics as of now, without sharing them with other sinks.

        Returns:
            Whether all are stored; not if `stop` was set before.

        Raises:
            DependencyDownError: no broker answers, or a topic does not exist.
        """
        ends = self._ends()
        self._assignment.take(self._consumer, [TopicPartition(*place) for place in ends])
        while not stop.is_set():
            self._turn()
            if all(self._position(place) >= end for place, end in ends.items()):
                self._store_batch()
                if all(self._position(place) >= end for place, end in ends.items()):
                    return True
        return False

    def _ends(self) -> dict[tuple[str, int], int]:
        found = {}
        try:
            for topic in self._tables:
                described = self._consumer.list_topics(topic, _TIMEOUT_S).topics[topic]
                if described.error is not None:
                    raise DependencyDownError("topics", f"{topic}: {described.error.str()}")
                for number in described.partitions:
                    place = TopicPartition(topic, number)
                    found[topic, number] = self._consumer.get_watermark_offsets(place, _TIMEOUT_S)[1]
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, self._consumer)) from error
        return found

    def _position(self, place: tuple[str, int]) -> int:
        """The offset up to which all records are stored or in the current batch; -1: not known yet."""
        each = self._assignment.ready(*place)
        if each is None:
            return -1
        # The consumer goes past what follows the last record: markers of transactions.
        (position,) = self._consumer.position([TopicPartition(*place)])
        return max(int(position.offset), each.next_offset)

    def _turn(self) -> None:
        for changed in self._assignment.settle():
            self._forget(changed)
        for message in self._consumer.consume(_AT_A_TIME, _POLL_S):
            if message.error() is not None:
                self._note_error(message)
            elif (each := self._assignment.ready(message.topic(), message.partition())) is not None:
                self._add(message, each)
        full = self._messages >= self._limits.messages or self._bytes >= 1_000_000 * self._limits.megabytes
        if self._batch and (full or time.monotonic() >= self._due):
            self._store_batch()

    def _add(self, message: Message, each: Assigned) -> None:
        if message.offset() < each.next_offset:
            # The client may still deliver messages from before a seek. The destination already holds them.
            return
        if not self._batch:
            self._due = time.monotonic() + self._limits.seconds
        self._batch.setdefault((each.topic, each.partition), []).append(message)
        each.next_offset = message.offset() + 1
        self._messages += 1
        self._bytes += _size(message)

    def _forget(self, each: Assigned) -> None:
        """Drop what the batch has of a partition."""
        dropped = self._batch.pop((each.topic, each.partition), ())
        self._messages -= len(dropped)
        self._bytes -= sum(map(_size, dropped))

    def _note_error(self, message: Message) -> None:
        error, place = message.error(), (message.topic(), message.partition())
        each = self._assignment.ready(*place)
        if error.fatal():
            raise UserError(f"Kafka: {error.str()}; if another sink has the same --instance-id, give each its own")
        if each is not None and error.code() in _OUT_OF_RANGE:
            self._forget(each)
            self._assignment.restart_one(each)
        elif each is not None and is_unreadable(message):
            reason = f"the batch at offset {message.offset()} of {place[0]}/{place[1]} cannot be read: {error.str()}"
            self._forget(each)
            self._assignment.restart_one(each, DependencyDownError("broker", reason))
        elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
            _LOG.warning("broker", reason=error_text(KafkaException(error), self._consumer), topic=place[0])

    def _store_batch(self) -> None:
        batch, self._batch = self._batch, {}
        self._messages = self._bytes = 0
        parts: list[Part] = []
        began = time.monotonic()
        try:
            watches = [self._assignment.watches[topic] for topic in {topic for topic, _ in batch}]
            for watch in watches:
                watch.ask()
            for (topic, partition), messages in batch.items():
                each = self._assignment.assigned[topic, partition]
                if each.origin is not None:
                    parts.append(part_of(self._tables[topic], each.origin, each.expected, each.first, messages))
            for watch in watches:
                watch.confirm()
            refused = self._store.write(parts)
        except RecreatedError as recreated:
            _LOG.warning("reading topics again from where they are stored", reason=str(recreated))
            self._assignment.restart()
        except FencedError as fenced:
            self._assignment.restart(down=DependencyDownError("destination", str(fenced)))
        except DependencyDownError as down:
            self._assignment.restart(down=down)
        else:
            self._stored(parts, refused, time.monotonic() - began)

    def _stored(self, parts: list[Part], refused: int, seconds: float) -> None:
        for part in parts:
            each = self._assignment.assigned[part.origin.topic, part.origin.partition]
            each.expected = each.first = part.end
            self._metrics.rows.labels(part.table.name).inc(len(part.rows))
            if part.unreadable:
                self._metrics.unreadable.labels(part.table.name).inc(len(part.unreadable))
                _LOG.warning(
                    "records cannot be read: they are stored among the unreadable ones",
                    table=part.table.name,
                    records=len(part.unreadable),
                    reason=part.unreadable[0]["message"],
                )
        if refused:
            _LOG.warning("the database refused rows: they are stored among the unreadable records", records=refused)
        self._metrics.seconds.observe(seconds)
        self._metrics.stored_at.set_to_current_time()
        if not parts:
            return
        try:
            # Only for tools that show the lag: the sink starts from what the destination says.
            ends = [TopicPartition(part.origin.topic, part.origin.partition, part.end) for part in parts]
            self._consumer.commit(offsets=ends, asynchronous=True)
        except KafkaException as error:
            _LOG.debug("offsets not committed", reason=error_text(error, self._consumer))


def _size(message: Message) -> int:
    """Bytes of a message in memory, roughly."""
    return len(value_of(message) or b"") + 100
