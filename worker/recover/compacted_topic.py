"""Reads partitions of a compacted topic up to their ends, while the loop continues with other partitions."""

from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from worker.kafka.client_config import consumer

_MESSAGES_PER_CALL = 10_000
_FIXED = {
    "group.id": "hazardstream-unused",  # required by the client, never joined
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
}


class CompactedTopic:
    """Reads several partitions at once, a part at each call. Has a consumer only while there is more to read."""

    def __init__(self, config: dict[str, Any], topic: str) -> None:
        self.topic = topic
        self._config = config
        self._reader: Consumer | None = None
        self._left: dict[int, range] = {}

    def begin(self, number: int, offsets: range) -> None:
        """Start to read these offsets of a partition."""
        self.drop(number)
        if offsets:
            self._left[number] = offsets
            self._reader = self._reader or consumer(self._config, _FIXED)
            self._reader.incremental_assign([TopicPartition(self.topic, number, offsets.start)])

    def drop(self, number: int) -> None:
        """Stop reading a partition."""
        if self._left.pop(number, None) is not None and self._reader is not None:
            self._reader.incremental_unassign([TopicPartition(self.topic, number)])
        if not self._left and self._reader is not None:
            self._reader.close()
            self._reader = None

    def messages(self, timeout_s: float) -> list[Message]:
        """The next messages, in the order of their offsets; waits up to `timeout_s` seconds for the first ones."""
        if self._reader is None:
            return []
        messages = self._reader.consume(_MESSAGES_PER_CALL, timeout_s)
        # Unlike the offsets of messages, the position also moves past aborted records and markers.
        for place in self._reader.position([TopicPartition(self.topic, number) for number in self._left]):
            left = self._left[place.partition]
            self._left[place.partition] = range(max(left.start, place.offset), left.stop)
        return [m for m in messages if m.error() is None and m.partition() in self._left]

    def missing(self, number: int) -> str | None:
        """Up to where a partition is read; None if it has been read to the end."""
        left = self._left.get(number)
        if not left:
            return None
        return (
            f"{self.topic}/{number} is readable up to {left.start} of {left.stop}"
            " (a predecessor's transaction may still be open)"
        )
