"""What is left of a partition that has no messages: to move past what is no message, and to commit that.

A transaction leaves a marker in the log, and an aborted one its records. Behind the last message these count as lag
for everybody who looks from outside, so the committed offset has to move past them. It does so in a transaction of
the worker's own, as any other offset: a plain commit that is held up in the network could be applied after a later
one, and move the group back.
"""

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from worker.consume.assignment import Assignment
from worker.kafka.publisher import Publisher
from worker.kafka.records import Outgoing
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_EVERY_S = 2.0


class Idle:
    """Called after each turn of the loop, when nothing that was fetched is left unprocessed."""

    def __init__(
        self, topic: str, consumer: Consumer, assignment: Assignment, scorer: Scorer, publisher: Publisher
    ) -> None:
        self._topic, self._consumer, self._assignment = topic, consumer, assignment
        self._scorer, self._publisher = scorer, publisher
        self._due = 0.0
        self._seen: dict[int, int] = {}

    def turn(self) -> None:
        """Move on where there is nothing but markers.

        Raises:
            RecreatedError: the input topic is another one.
            DependencyDownError, AbortedError, UncertainError: as of the publisher.
        """
        if self._assignment.restoring:
            self._end_rebuilds()
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _EVERY_S
        self._assignment.topic.glance()
        passed = {n: offset for n, (p, offset) in self._passed().items() if p.next_offset >= p.live_from}
        # Only where nothing has come for a while: the next message would take the offset along.
        still = {n: offset for n, offset in passed.items() if self._seen.get(n) == offset}
        self._seen = passed
        if still:
            self._commit(still)

    def _passed(self) -> dict[int, tuple[Partition, int]]:
        """Partitions whose next message, if there is one, comes later than where they stand, and from where on."""
        found = {}
        for number, partition in self._assignment.partitions.items():
            if number in self._assignment.held:
                continue
            try:
                (place,) = self._consumer.position([TopicPartition(self._topic, number)])
            except KafkaException:
                continue  # revoked, and the event that says so is on its way
            if place.offset > partition.next_offset:
                found[number] = partition, place.offset
        return found

    def _end_rebuilds(self) -> None:
        """A rebuild that ends with markers has no message left to come."""
        for partition, offset in self._passed().values():
            if partition.next_offset < partition.live_from <= offset:
                partition.next_offset = offset
        self._assignment.progressed()

    def _commit(self, still: dict[int, int]) -> None:
        self._assignment.topic.ask()
        partitions, span_ms = self._assignment.partitions, self._scorer.state.rebuild_span_ms
        offsets = [self._assignment.place(n, offset, partitions[n].clock, span_ms) for n, offset in still.items()]
        self._assignment.topic.confirm()
        self._publisher.commit(Outgoing({}, []), offsets)
        for number, offset in still.items():
            partitions[number].next_offset = offset


def lag(consumer: Consumer, topic: str, assignment: Assignment) -> dict[int, int]:
    """Messages behind, by partition. What transactions leave in the log besides messages is not counted."""
    behind = {}
    for number, partition in assignment.partitions.items():
        place = TopicPartition(topic, number)
        try:
            _, high = consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:
            continue  # revoked meanwhile, or the broker is away
        # A position moves on over what is no message; nothing is ahead of it but where a partition is held.
        passed = -1 if number in assignment.held else consumer.position([place])[0].offset
        behind[number] = max(high - max(partition.next_offset, passed), 0)
    return behind
