"""Notices that no broker can be reached, even while the loop has nothing to do."""

from confluent_kafka import Consumer, KafkaError, KafkaException

from common.errors import DependencyDownError
from worker.kafka.client_config import error_text

_TIMEOUT_S = 1.0


class BrokerWatch:
    """Remembers what the consumer reports until a broker answers again."""

    def __init__(self) -> None:
        self._lost = False

    def note(self, error: KafkaError) -> None:
        """Record an error. Called as `error_cb` inside consume(), where an exception would lose the batch."""
        self._lost = self._lost or error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - librdkafka's name

    def check(self, consumer: Consumer, topic: str) -> None:
        """After a report that all brokers are down, ask for the topic.

        Raises:
            DependencyDownError: no broker answers; call again.
        """
        if not self._lost:
            return
        try:
            consumer.list_topics(topic, timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, consumer)) from error
        self._lost = False
