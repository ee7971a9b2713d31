"""Committed records of a topic, from given places to its end as it stands: to look things up, outside of any group."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from worker.errors import DependencyDownError, UserError
from worker.kafka_config import error_text

_TIMEOUT_S = 10.0
_AT_A_TIME = 2000


class LogReader:
    """Reads topics. Use as a context manager.

    Args:
        config: client properties (worker/kafka_config.py).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._consumer = Consumer(
            config
            | {
                "group.id": "hazardstream-lookup",  # required by the client, never joined
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """Numbers of a topic's partitions.

        Raises:
            UserError: there is no such topic.
            DependencyDownError: no broker answers.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error)) from error
        if found.error is not None:
            raise UserError(f"there is no topic {topic}; check --pipeline and the broker's address")
        return sorted(found.partitions)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset that is still there, and the one behind the last.

        Raises:
            DependencyDownError: the broker does not answer.
        """
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error)) from error
        return low, high

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """Offset of the first record whose Kafka timestamp is this or later; the end where there is none.

        Raises:
            DependencyDownError: the broker does not answer.
        """
        place = TopicPartition(topic, partition, max(timestamp_ms, 0))
        try:
            found = self._consumer.offsets_for_times([place], timeout=_TIMEOUT_S)[0]
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error)) from error
        return int(found.offset) if found.offset >= 0 else self.bounds(topic, partition)[1]

    def messages(self, topic: str, starts: dict[int, int]) -> Iterator[list[Message]]:
        """Records from these offsets (by partition) on, in lists, up to the ends as of now.

        Raises:
            DependencyDownError: the broker does not answer.
        """
        ends = {n: self.bounds(topic, n)[1] for n in starts}
        at = dict(starts)
        places = [TopicPartition(topic, n, offset) for n, offset in starts.items()]
        try:
            self._consumer.assign(places)
            deadline = time.monotonic() + _TIMEOUT_S
            while any(at[n] < end for n, end in ends.items()):
                batch = self._consumer.consume(_AT_A_TIME, timeout=0.2)
                good = [m for m in batch if m.error() is None]
                if good:
                    deadline = time.monotonic() + _TIMEOUT_S
                    yield good
                # Ends of transactions take offsets, too, and are never handed out.
                for place in self._consumer.position(places):
                    at[place.partition] = max(at[place.partition], place.offset)
                if time.monotonic() > deadline:
                    raise DependencyDownError("broker", f"{topic} ends at {ends} and is readable to {at}")
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error)) from error
        finally:
            self._consumer.unassign()
