"""How large a batch of records each output topic takes (`max.message.bytes`), and what does not fit.

The broker's limit is for a whole batch, compressed. Ours keeps a batch within it before compression, so that nothing
depends on how well the records happen to compress.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from confluent_kafka.admin import AdminClient

from common.errors import UncertainError
from worker.config.pipeline import Pipeline
from worker.config.topic_rules import BROKER_DEFAULT_MAX_BYTES
from worker.kafka.message import Headers
from worker.kafka.records import Outgoing, headers_size
from worker.kafka.topics import topic_settings

# Bytes of a batch of one record, on top of its key, value and headers.
RECORD_OVERHEAD = 100
_CLIENTS_BATCH_BYTES = 1_000_000  # librdkafka's default

Limits: TypeAlias = Mapping[str, int]
"""Bytes of the largest batch, by topic."""


class LimitsChangedError(UncertainError):
    """A topic's limit was changed while the worker ran: restart in place, with batches that fit."""


class OutputLimits:
    """The size limits of all topics that a worker writes, as they were at its start.

    Attributes:
        of: bytes by topic; the broker's default where the broker does not report it.

    Raises:
        DependencyDownError: no broker answers.
    """

    def __init__(self, admin: AdminClient, pipeline: Pipeline) -> None:
        self._admin = admin
        self._topics = sorted(set(pipeline.topics.values()) - {pipeline.input.topic})
        self.of: Limits = self._ask()

    def _ask(self) -> dict[str, int]:
        told = topic_settings(self._admin, self._topics)
        return {topic: int(told[topic].get("max.message.bytes") or BROKER_DEFAULT_MAX_BYTES) for topic in self._topics}

    def batch_bytes(self, configured: object) -> int:
        """The producer's `batch.size` with which a batch of more than one record fits every topic.

        Args:
            configured: what the user's own client properties say; None: nothing.
        """
        return min(int(str(configured or _CLIENTS_BATCH_BYTES)), *self.of.values())

    def look_again(self, outgoing: Outgoing) -> dict[int, str]:
        """After a batch was too large: by partition, why one of its records fits in no batch, and what to do.

        Raises:
            LimitsChangedError: they are not what they were.
            DependencyDownError: no broker answers.
        """
        now = self._ask()
        if changed := sorted(topic for topic in self._topics if now[topic] != self.of[topic]):
            raise LimitsChangedError(f"max.message.bytes was changed: {', '.join(f'{t} {now[t]}' for t in changed)}")
        return too_large(outgoing, now)


def too_large(outgoing: Outgoing, limits: Limits) -> dict[int, str]:
    """By partition, why one of its records fits in no batch, and what to do."""
    found: dict[int, str] = {}
    for topic, partition, size in _sizes(outgoing):
        if size > limits.get(topic, size):
            found[partition] = (
                f"{topic}: a record of {size} bytes does not fit its max.message.bytes of {limits[topic]}; raise that: "
                f"kafka-configs.sh --alter --topic {topic} --add-config max.message.bytes={2 * size}"
            )
    return found


def _sizes(outgoing: Outgoing) -> Iterator[tuple[str, int, int]]:
    for (topic, partition), messages in outgoing.bulk.items():
        for message in messages:
            yield topic, partition, record_size(message["key"], message["value"], message.get("headers"))
    for record in outgoing.records:
        yield record.topic, record.partition, record_size(record.key, record.value, record.headers)


def record_size(key: bytes | None, value: bytes | None, headers: Headers | None) -> int:
    """Bytes of a batch that holds nothing but this record, at most."""
    return len(key or b"") + len(value or b"") + headers_size(headers or []) + RECORD_OVERHEAD
