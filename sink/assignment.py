"""The partitions that this sink reads, each from the offset up to which the destination holds it.

Callbacks of the consumer only record what was assigned and revoked. The loop then looks up where to start.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from common.errors import DependencyDownError
from sink.batch import FencedError, Loss, Origin, Store
from sink.metrics import SinkMetrics
from worker.kafka.client_config import error_text
from worker.kafka.topic_identity import Identity, TopicWatch, identities

_LOG = structlog.get_logger(__name__)
_TIMEOUT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


@dataclass
class Assigned:
    """A partition of which this sink stores the records.

    Attributes:
        origin: with the topic's id; None until the start is known. Messages are dropped until then.
        expected: the offset up to which the destination holds it; None: nothing of it.
        first: the offset from which the current batch is read.
        next_offset: the first offset that is not in the current batch.
        reason: why it is not read.
        retry_at: when the start is looked up again, on the monotonic clock.
    """

    topic: str
    partition: int
    origin: Origin | None = None
    expected: int | None = None
    first: int = 0
    next_offset: int = 0
    reason: str = ""
    retry_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S

    def put_off(self, reason: str) -> bool:
        """Try again after a pause, which doubles each time. Returns whether the reason is new."""
        self.retry_at = time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)
        new, self.reason = reason != self.reason, reason
        return new

    @property
    def place(self) -> TopicPartition:
        """For calls of the consumer."""
        return TopicPartition(self.topic, self.partition, self.next_offset)


class Assignment:
    """All assigned partitions.

    Args:
        consumer: of the group.
        admin: looks up the ids of topics.
        tables: name of the table by topic.
        store: the destination.
        metrics: counts what is lost and waited for.
    """

    def __init__(
        self,
        consumer: Consumer,
        admin: AdminClient,
        tables: Mapping[str, str],
        store: Store,
        metrics: SinkMetrics,
    ) -> None:
        self._consumer, self._admin, self._tables, self._store = consumer, admin, tables, store
        self._metrics = metrics
        self.watches = {topic: TopicWatch(admin, topic) for topic in tables}
        self.assigned: dict[tuple[str, int], Assigned] = {}
        self._events: deque[tuple[bool, str, int]] = deque()

    def subscribe(self) -> None:
        """Join the group, and share the partitions with its other members."""
        self._consumer.subscribe([*self._tables], on_assign=self.take, on_revoke=self._revoked, on_lost=self._revoked)

    def take(self, consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        """Take these partitions in addition."""
        # The offset does not matter: the partition stays paused until its start is known.
        places = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        self._events.extend((True, p.topic, p.partition) for p in places)

    def _revoked(self, _consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        self._events.extend((False, p.topic, p.partition) for p in partitions)

    def ready(self, topic: str, partition: int) -> Assigned | None:
        """A partition whose start is known; None: its messages are not wanted."""
        each = self.assigned.get((topic, partition))
        return None if each is None or each.origin is None else each

    def settle(self) -> Iterator[Assigned]:
        """Note what was revoked, and look up the starts of what was assigned.

        Yields:
            Partitions that were revoked or start (again): what was read of them before does not count.
        """
        while self._events:
            gained, topic, partition = self._events.popleft()
            if (before := self.assigned.pop((topic, partition), None)) is not None:
                self._release(before)
                yield before
            if gained:
                self.assigned[topic, partition] = Assigned(topic, partition)
        due = [each for each in self.assigned.values() if each.origin is None and each.retry_at <= time.monotonic()]
        if due:
            yield from self._start_all(due)
        self._metrics.partitions.set(len(self.assigned))
        self._metrics.waiting.set(sum(each.origin is None for each in self.assigned.values()))

    def _start_all(self, due: list[Assigned]) -> Iterator[Assigned]:
        try:
            topics = identities(self._admin, {each.topic for each in due})
        except DependencyDownError as down:
            self._put_off(due, down)
            return
        for topic in {each.topic for each in due} & topics.keys():
            watch = self.watches[topic]
            if watch.topic_id not in {"", topics[topic].topic_id}:
                # Those that are ready are of the earlier topic.
                yield from self.restart(topic)
            watch.begin(topics[topic].topic_id)
        for each in due:
            try:
                self._start(each, topics.get(each.topic))
            except DependencyDownError as down:
                self._put_off([each], down)
            except KafkaException as error:
                self._put_off([each], DependencyDownError("broker", error_text(error, self._consumer)))
            except FencedError as fenced:
                self._put_off([each], DependencyDownError("destination", str(fenced)))
            yield each

    def _start(self, each: Assigned, identity: Identity | None) -> None:
        if identity is None:
            hint = "`hazardstream topics create` creates those of a pipeline"
            raise DependencyDownError("topics", f"there is no topic {each.topic}; {hint}")
        origin = Origin(self._tables[each.topic], each.topic, identity.topic_id, each.partition)
        stored = self._store.start(origin)
        low, high = self._consumer.get_watermark_offsets(TopicPartition(each.topic, each.partition), _TIMEOUT_S)
        expected = stored.next_offset
        if expected is not None and expected > high:
            # Right after a failover, the end may be too low for a moment.
            raise DependencyDownError(
                "broker",
                f"{each.topic}/{each.partition} ends at {high}, but records up to {expected} are stored: the broker "
                "has lost them. If it does not have them back soon, see docs/sink.md",
            )
        loss = None
        if stored.former_id is not None:
            loss = Loss(origin, 0, None, "created_again", expected, low)
        elif expected is not None and expected < low:
            loss = Loss(origin, expected, low - 1, "retention", expected, low)
        if loss is not None:
            self._store.skip(loss)
            self._report(loss)
            expected = low
        each.expected = expected
        each.first = each.next_offset = low if expected is None else expected
        self._consumer.seek(each.place)
        self._consumer.resume([each.place])
        each.origin, each.reason, each.pause_s = origin, "", _FIRST_PAUSE_S
        _LOG.info("partition assigned", topic=each.topic, partition=each.partition, offset=each.next_offset)

    def _report(self, loss: Loss) -> None:
        self._metrics.lost.labels(loss.origin.table, loss.reason).inc()
        place = {"topic": loss.origin.topic, "partition": loss.origin.partition}
        if loss.reason == "retention":
            _LOG.error(
                "records were deleted before they were stored: keep them for longer (retention.ms) than the sink is "
                "away",
                **place,
                first=loss.first,
                last=loss.last,
            )
        else:
            _LOG.error(
                "the topic was deleted and created again: records of the earlier one that were not stored are lost, "
                "those that were stored are kept",
                **place,
            )

    def _put_off(self, each_of: Iterable[Assigned], down: DependencyDownError) -> None:
        for each in each_of:
            self._metrics.waits.labels(down.dependency).inc()
            if each.put_off(str(down)):
                _LOG.warning("waiting", dependency=down.dependency, reason=down.reason, topic=each.topic)

    def restart(self, topic: str | None = None, down: DependencyDownError | None = None) -> list[Assigned]:
        """Look up again where partitions start.

        Args:
            topic: of these partitions; None: all.
            down: why they cannot start at once.

        Returns:
            The partitions.
        """
        found = [each for each in self.assigned.values() if topic in {None, each.topic} and each.origin is not None]
        for each in found:
            self._restart(each)
        if down is not None:
            self._put_off(found, down)
        return found

    def restart_one(self, each: Assigned, down: DependencyDownError | None = None) -> None:
        """As `restart`, for one partition."""
        self._restart(each)
        if down is not None:
            self._put_off([each], down)

    def _restart(self, each: Assigned) -> None:
        self._release(each)
        place = TopicPartition(each.topic, each.partition, OFFSET_BEGINNING)
        try:
            # After an offset out of range, librdkafka no longer fetches the partition until it is assigned again.
            if any((p.topic, p.partition) == (each.topic, each.partition) for p in self._consumer.assignment()):
                self._consumer.incremental_unassign([place])
                self._consumer.incremental_assign([place])
                self._consumer.pause([place])
        except KafkaException as error:  # it was revoked, and the event comes soon
            _LOG.info("partition cannot be assigned again", reason=error_text(error), topic=each.topic)

    def _release(self, each: Assigned) -> None:
        if each.origin is not None:
            self._store.release(each.origin)
            each.origin = None
