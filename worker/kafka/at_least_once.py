"""Publishes a batch and then commits its offsets, without transactions."""

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from worker.kafka.client_config import error_text, producer
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED, produce
from worker.kafka.publisher import AbortedError
from worker.kafka.records import Outgoing


class AtLeastOncePublisher:
    """For brokers without transactions: after a crash, readings since the last commit are published again."""

    def __init__(self, config: dict[str, Any], consumer: Consumer, timeout_ms: int) -> None:
        self._consumer, self._timeout_s = consumer, timeout_ms / 1000
        self._failed: list[KafkaError] = []
        self._producer = producer(config, PRODUCER_FIXED | {"on_delivery": self._delivered}, PRODUCER_DEFAULTS)

    def open(self) -> None:
        """See Publisher."""

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """See Publisher."""
        self._failed.clear()
        try:
            produce(self._producer, outgoing, time.monotonic() + self._timeout_s)
            if self._producer.flush(self._timeout_s) or self._failed:
                self._producer.purge()
                too_large = any(failed.code() == KafkaError.MSG_SIZE_TOO_LARGE for failed in self._failed)
                reason = self._failed[0].str() if self._failed else "the broker did not confirm in time"
                raise AbortedError(reason, too_large=too_large)
            done = self._consumer.commit(offsets=offsets, asynchronous=False)
        except (KafkaException, BufferError) as error:
            self._producer.purge()
            raise AbortedError(error_text(error)) from error
        if refused := [place.error.str() for place in done or [] if place.error is not None]:
            raise AbortedError(refused[0])

    def close(self) -> None:
        """See Publisher."""
        self._producer.flush(self._timeout_s)
