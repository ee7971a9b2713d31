"""Commits past transaction markers and aborted records in partitions that have no more messages.

After the last message, these offsets would count as lag for other tools, so the committed offset has to move past
them. It does so in a transaction, as any other offset: a plain commit that is delayed in the network could be applied
after a later one, and move the group back.
"""

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from worker.consume.assignment import Assignment
from worker.kafka.publisher import Publisher
from worker.kafka.records import Outgoing
from worker.score.scorer import Scorer

_EVERY_S = 2.0


class Idle:
    """Called after each turn of the loop, when all fetched messages are processed."""

    def __init__(
        self, topic: str, consumer: Consumer, assignment: Assignment, scorer: Scorer, publisher: Publisher
    ) -> None:
        self._topic, self._consumer, self._assignment = topic, consumer, assignment
        self._scorer, self._publisher = scorer, publisher
        self._due = 0.0

    def turn(self) -> None:
        """Commit past markers where nothing else is left.

        Raises:
            RecreatedError: the input topic was deleted and created again.
            DependencyDownError, AbortedError, UncertainError: see `Publisher.commit`.
        """
        if self._assignment.restoring:
            self._end_rebuilds()
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _EVERY_S
        self._assignment.topic.glance()
        still: dict[int, int] = {}
        passed = self._passed()
        for each, partition in self._assignment.ready():
            offset = passed.get(each.number) if partition.next_offset >= partition.live_from else None
            # Only if no message came since the last check: otherwise a batch commits the offset.
            if offset is not None and offset == each.idle_offset:
                still[each.number] = offset
            each.idle_offset = offset
        if still:
            self._commit(still)

    def _passed(self) -> dict[int, int]:
        """By partition, the consumer's position if it is past all merged messages, although none is left to merge."""
        found = {}
        for each, partition in self._assignment.ready():
            if each.hold:
                continue
            try:
                (place,) = self._consumer.position([TopicPartition(self._topic, each.number)])
            except KafkaException:
                continue  # revoked; the event has not arrived yet
            if place.offset > partition.next_offset:
                found[each.number] = place.offset
        return found

    def _end_rebuilds(self) -> None:
        """End rebuilds whose remaining offsets are transaction markers: no message will come."""
        partitions = self._assignment.partitions
        for number, offset in self._passed().items():
            partition = partitions[number]
            if partition.next_offset < partition.live_from <= offset:
                partition.next_offset = offset
        self._assignment.progressed()

    def _commit(self, still: dict[int, int]) -> None:
        self._assignment.topic.ask()
        partitions, span_ms = self._assignment.partitions, self._scorer.windows.rebuild_span_ms
        offsets = [
            self._assignment.place(partitions[n], offset, partitions[n].clock, span_ms) for n, offset in still.items()
        ]
        self._assignment.topic.confirm()
        self._publisher.commit(Outgoing({}, []), offsets)
        for number, offset in still.items():
            partitions[number].next_offset = offset


def lag(consumer: Consumer, topic: str, assignment: Assignment) -> dict[int, int]:
    """By partition, how many messages wait. Transaction markers and aborted records do not count."""
    behind = {}
    for each, partition in assignment.ready():
        place = TopicPartition(topic, each.number)
        try:
            _, high = consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:
            continue  # revoked meanwhile, or the broker is away
        # The position moves past markers. While a partition is held, it may also be past messages that wait.
        passed = -1 if each.hold else consumer.position([place])[0].offset
        behind[each.number] = max(high - max(partition.next_offset, passed), 0)
    return behind
