"""Reads committed records of a topic up to its current end, outside of any consumer group, in bounded memory."""

import time
from collections.abc import Callable, Container, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from common.errors import DependencyDownError, UserError
from worker.kafka.client_config import consumer, error_text
from worker.kafka.message import is_unreadable
from worker.kafka.permissions import DENIED, Denied

LOOP_PATIENCE_S = 10.0
"""How long to wait inside the loop: longer than an open transaction takes to end, shorter than the loop may stall."""
_TIMEOUT_S = 10.0
MANY = 2000
"""Messages per call, for a topic whose records are known to be small."""
_FIXED = {
    "group.id": "hazardstream-lookup",  # the client requires one; no group is joined, nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
}
_DEFAULTS = {
    # How much is fetched ahead, and how soon more is fetched.
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 10_000,
    "fetch.max.bytes": 4_000_000,
    "fetch.queue.backoff.ms": 10,
}


class Span(NamedTuple):
    """Offsets low to high - 1 of a partition."""

    low: int
    high: int


Spans: TypeAlias = Mapping[int, Span]
"""By partition."""


class UnreadableBatchError(DependencyDownError):
    """The client cannot read a batch: it is too large, damaged, or in an unknown compression."""


class TopicReader:
    """A consumer that belongs to no group, for one reader at a time.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        patience_s: how long to wait for the next record. By default longer than an abandoned transaction stays open.
        per_call: messages per call. The default bounds memory even if each is as large as a broker accepts.
    """

    def __init__(self, config: dict[str, Any], patience_s: float = 60.0, per_call: int = 100) -> None:
        self._patience_s, self._per_call = patience_s, per_call
        self._config = config
        self.consumer = consumer(config, _FIXED, _DEFAULTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.consumer.close()

    def spans(self, topic: str, only: Container[int] | None = None, *, committed: bool = True) -> dict[int, Span]:
        """The spans from the first record to the current end.

        Args:
            topic: to look up.
            only: partitions to ask for, one request each; None: all.
            committed: up to the oldest open transaction; False: up to the last record, so that reading waits for all
                transactions that are open now.

        Raises:
            UserError: there is no such topic.
            DependencyDownError: no broker answers.
        """
        # After a creation or a failover, it takes a moment until all brokers know the leaders.
        patiently = Retrying(
            retry=retry_if_exception_type(DependencyDownError),
            wait=wait_exponential(0.1, max=1.0),
            stop=stop_after_delay(_TIMEOUT_S),
            reraise=True,
        )
        return patiently(self._spans, topic, only, committed=committed)

    def span_while_running(self, topic: str, number: int) -> Span:
        """All records of a partition, those of open transactions too, for a worker that has already started.

        Raises:
            DependencyDownError: no broker answers, or the topic or partition was deleted, or an ACL was taken away:
                the worker waits until that is corrected.
        """
        try:
            span = self.spans(topic, {number}, committed=False).get(number)
        except UserError as error:
            raise DependencyDownError("topics", str(error)) from error
        if span is None:
            raise DependencyDownError(
                "topics", f"{topic} has no partition {number}; `hazardstream topics check` says more"
            )
        return span

    def _spans(self, topic: str, only: Container[int] | None, *, committed: bool) -> dict[int, Span]:
        # Not an admin client: librdkafka crashes if one is destroyed while it waits for an answer.
        asked = (
            self.consumer
            if committed
            else consumer(self._config, _FIXED | {"isolation.level": "read_uncommitted"}, _DEFAULTS)
        )
        try:
            found = asked.list_topics(topic, _TIMEOUT_S).topics[topic]
            if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise UserError(f"there is no topic {topic}; check --pipeline, or run `hazardstream topics create`")
            if found.error is not None and found.error.code() in DENIED:
                raise UserError(Denied("topic", topic, ("Read",), hidden=True).text(self._config))
            if found.error is not None:
                raise DependencyDownError("broker", f"{topic}: {found.error.str()}")
            numbers = (number for number in sorted(found.partitions) if only is None or number in only)
            places = [TopicPartition(topic, number) for number in numbers]
            return {place.partition: Span(*asked.get_watermark_offsets(place, _TIMEOUT_S)) for place in places}
        except KafkaException as error:
            asked.poll(0)  # delivers the cause
            raise DependencyDownError("broker", error_text(error, asked)) from error
        finally:
            if asked is not self.consumer:
                asked.close()

    def spans_since(self, topic: str, time_ms: int, only: Container[int] | None = None) -> dict[int, Span]:
        """As `spans`, from the first record with this Kafka timestamp (or a later one) on.

        Raises:
            UserError, DependencyDownError: see `spans`.
        """
        spans = self.spans(topic, only).items()
        return {number: Span(self.since(topic, number, time_ms, high), high) for number, (_, high) in spans}

    def since(self, topic: str, partition: int, time_ms: int, otherwise: int) -> int:
        """The first offset whose Kafka timestamp is this (or later).

        Raises:
            DependencyDownError: no broker answers.
        """
        try:
            (place,) = self.consumer.offsets_for_times([TopicPartition(topic, partition, max(time_ms, 0))], _TIMEOUT_S)
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, self.consumer)) from error
        return int(place.offset) if place.offset >= 0 else otherwise

    def read(
        self, topic: str, spans: Spans, progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[list[Message]]:
        """The committed records of these spans, several at a time; those of a partition in order.

        Args:
            topic: to read.
            spans: of its partitions.
            progress: called with the number of offsets that were just passed.

        Raises:
            DependencyDownError: nothing came for `patience_s`, or a batch cannot be read.
        """
        try:
            yield from self._read(topic, spans, progress)
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, self.consumer)) from error

    def _read(self, topic: str, spans: Spans, progress: Callable[[int], None]) -> Iterator[list[Message]]:
        at = {number: span.low for number, span in spans.items() if span.low < span.high}
        places = [TopicPartition(topic, number, low) for number, low in at.items()]
        self.consumer.assign(places)
        quiet_until, cause = time.monotonic() + self._patience_s, "did a producer leave a transaction open?"
        while any(offset < spans[number].high for number, offset in at.items()):
            messages = self.consumer.consume(self._per_call, timeout=0.2)
            cause = next((m.error().str() for m in messages if m.error() is not None), cause)
            # What comes behind a span is fetched with it, too.
            unreadable = (m for m in messages if is_unreadable(m))
            if bad := next((m for m in unreadable if (m.offset() or 0) < spans[m.partition()].high), None):
                raise UnreadableBatchError(
                    "broker",
                    f"the batch at offset {bad.offset()} of {topic}/{bad.partition()} cannot be read: {cause}. If it "
                    "inflates to more than receive.message.max.bytes, raise that in KAFKA_CONFIG_FILE",
                )
            yield [m for m in messages if m.error() is None and m.offset() < spans[m.partition()].high]
            before = sum(at.values())
            for place in self.consumer.position(places):
                at[place.partition] = min(max(at[place.partition], place.offset), spans[place.partition].high)
            moved = sum(at.values()) - before
            progress(moved)
            if moved:
                quiet_until = time.monotonic() + self._patience_s
            elif time.monotonic() > quiet_until:
                why = self.consumer.reports.reason() or cause
                raise DependencyDownError("broker", f"{topic} could not be read beyond {at}: {why}")
        self.consumer.unassign()
