"""Properties of every producer, and a function that hands it a batch of records."""

import time
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from confluent_kafka import Producer

from worker.kafka.records import Outgoing, Record

PRODUCER_FIXED: dict[str, Any] = {"enable.idempotence": True, "acks": "all"}
"""Properties of every producer that must not be changed."""
PRODUCER_DEFAULTS: dict[str, Any] = {
    "linger.ms": 2,
    # A broker completes a commit shortly after it confirms it, and refuses the next transaction until then. The client
    # asks again after this time, doubled each time; by default 100 ms (confluent-kafka-python's issue 967).
    "retry.backoff.ms": 2,
    # Every client reads gzip without an add-on, and some lack lz4. Level 1 costs a third of level 6 (docs/clients.md).
    "compression.type": "gzip",
    "compression.level": 1,
    "queue.buffering.max.messages": 200_000,
    # Dead letters of the largest input records carry headers on top. The topic's own limit is checked at start.
    "message.max.bytes": 64_000_000,
}
"""Properties of every producer that the user may override."""


def produce(producer: Producer, outgoing: Outgoing, deadline: float) -> None:
    """Hand all records to the producer, waiting while its queue is full.

    Raises:
        BufferError: the queue stayed full until the deadline.
        KafkaException: a record was refused.
    """
    for (topic, partition), messages in outgoing.bulk.items():
        if not outgoing.bulk_headers:
            _produce_bulk(producer, topic, partition, messages, deadline)
            continue
        # The records of a partition keep their order.
        for with_headers, run in groupby(messages, lambda message: "headers" in message):
            if with_headers:
                _produce_each(producer, (Record(topic, partition, **message) for message in run), deadline)
            else:
                _produce_bulk(producer, topic, partition, list(run), deadline)
    _produce_each(producer, outgoing.records, deadline)
    producer.poll(0)


def _produce_bulk(
    producer: Producer, topic: str, partition: int, messages: list[dict[str, Any]], deadline: float
) -> None:
    left = messages
    while left:
        producer.produce_batch(topic, left, partition=partition)
        # A full queue raises nothing: messages that were not accepted get an error each.
        left = [{"key": m["key"], "value": m["value"]} for m in left if "_error" in m]
        _make_room(producer, deadline, full=bool(left))


def _produce_each(producer: Producer, records: Iterable[Record], deadline: float) -> None:
    for record in records:
        kept: dict[str, Any] = {"headers": record.headers} if record.headers else {}
        if record.timestamp:
            kept |= {"timestamp": record.timestamp}
        while True:
            try:
                producer.produce(record.topic, record.value, record.key, partition=record.partition, **kept)
            except BufferError:
                _make_room(producer, deadline, full=True)
            else:
                break


def _make_room(producer: Producer, deadline: float, *, full: bool) -> None:
    if full and time.monotonic() > deadline:
        raise BufferError("the producer's queue stayed full: the broker takes records too slowly")
    producer.poll(0.05 if full else 0)
