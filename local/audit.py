"""An independent count of a run: input and output, read back with a separate read_committed consumer.

It shares only the schemas with the worker, and counts records by their address (partition and offset).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from confluent_kafka import KafkaException, Message, TopicPartition
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from common.errors import UserError
from schemas.codec import decode
from schemas.load import Schema
from schemas.registry import SchemaRegistry, writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import client_config
from worker.kafka.client_config import consumer as kafka_consumer
from worker.kafka.message import headers_of, value_of

Address: TypeAlias = tuple[int, int]
_TIMEOUT_S = 30.0


@dataclass
class Audit:
    """The counts of a run.

    Attributes:
        produced: messages on the input topic.
        scored: distinct readings with a prediction.
        dead_lettered: distinct records on the dead-letter topic.
        deduplicated: readings without an outcome whose key, time and sensor values equal those of a scored one.
        duplicates: predictions and dead letters beyond the first of the same reading.
        missing: readings without any outcome.
        alarms: alarms raised (distinct alarm ids).
        reasons: dead letters by reason.
        modules: keys with a prediction.
    """

    produced: int = 0
    scored: int = 0
    dead_lettered: int = 0
    deduplicated: int = 0
    duplicates: int = 0
    missing: int = 0
    alarms: int = 0
    modules: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def read_all(topic: str, bootstrap: str, *, committed_only: bool = True) -> list[Message]:
    """Every record of a topic up to its end as of now.

    Raises:
        UserError: see `read`.
    """
    return list(read(topic, bootstrap, committed_only=committed_only))


# For requests to a broker that has just started, or has just become leader of a partition.
patiently = Retrying(
    retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(_TIMEOUT_S), wait=wait_fixed(0.2), reraise=True
)


def read(topic: str, bootstrap: str, *, committed_only: bool = True) -> Iterator[Message]:
    """Like `read_all`, one by one: for a topic that may not fit into memory.

    Raises:
        UserError: the end is not reached in time (an open transaction).
    """
    consumer = kafka_consumer(
        client_config(bootstrap),
        {
            "group.id": "hazardstream-audit",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,  # wakes the reader if only markers follow the last record
            "isolation.level": "read_committed" if committed_only else "read_uncommitted",
        },
    )
    try:
        numbers = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        places = [TopicPartition(topic, n) for n in numbers]
        ends, starts = {}, []
        for place in places:
            low, high = patiently(consumer.get_watermark_offsets, place, timeout=_TIMEOUT_S)
            starts.append(TopicPartition(topic, place.partition, low))
            ends[place.partition] = high
        consumer.assign(starts)
        at = {s.partition: s.offset for s in starts}
        deadline = time.monotonic() + _TIMEOUT_S
        while any(at[n] < end for n, end in ends.items()):
            # Then take what has arrived already: a larger first request would wait until the batch is full.
            came = consumer.consume(1, timeout=0.2) + consumer.consume(10_000, timeout=0)
            batch = [m for m in came if m.error() is None]
            yield from batch
            for place in consumer.position(places):
                at[place.partition] = max(at[place.partition], place.offset)
            if batch:
                deadline = time.monotonic() + _TIMEOUT_S
            elif time.monotonic() > deadline:
                raise UserError(
                    f"{topic} could not be read to its end {ends}: got to {at}; is a transaction still open?"
                )
    finally:
        consumer.close()


def audit(pipeline: Pipeline, bootstrap: str, registry: SchemaRegistry | None = None) -> Audit:
    """Account for every record of a pipeline's topics."""
    writer_schema_of = writer_schema_lookup(registry, pipeline.known_schemas)
    outputs, source = pipeline.outputs, pipeline.input

    def records(topic: str, reader: Schema) -> list[tuple[Message, dict[str, Any]]]:
        return [
            (m, outputs.with_engine_names(decode(value_of(m) or b"", writer_schema_of, reader)))
            for m in read_all(topic, bootstrap)
        ]

    read = {(m.partition(), m.offset()): m for m in read_all(source.topic, bootstrap)}
    predictions = records(outputs.predictions.topic, outputs.predictions.avro_schema)
    # A redrive writes markers to the dead-letter topic. They have no reason.
    dead = [m for m in read_all(outputs.dead_letters.topic, bootstrap) if "hazardstream.reason" in dict(headers_of(m))]
    alarms = records(outputs.alarms.topic, outputs.alarms.avro_schema) if outputs.alarms else []

    scored = {(r["source_partition"], r["source_offset"]) for _, r in predictions}
    scored_as = {(r[source.key], r[source.time]): set[Address]() for _, r in predictions}
    for _, r in predictions:
        scored_as[r[source.key], r[source.time]].add((r["source_partition"], r["source_offset"]))
    addresses = [address_of(m) for m in dead]
    left = set(read) - scored - set(addresses)
    reader = source.avro_schema

    def content(address: Address) -> dict[str, Any]:
        message, offset_ms = read[address], source.utc_offset_ms
        return decode(value_of(message) or b"", writer_schema_of, reader, headers_of(message), offset_ms)

    def seen_before(address: Address) -> bool:
        record = content(address)
        like = scored_as.get((record[source.key], record[source.time]), set())
        return any(
            repr(content(a)) == repr(record) for a in like if a in read
        )  # compared as text, because NaN does not equal itself

    again = {a for a in left if seen_before(a)}
    headers = [dict(headers_of(m)) for m in dead]
    reasons = [bytes(h["hazardstream.reason"] or b"").decode() for h in headers]
    return Audit(
        produced=len(read),
        scored=len(scored),
        dead_lettered=len(set(addresses)),
        deduplicated=len(again),
        duplicates=len(predictions) - len(scored) + len(addresses) - len(set(addresses)),
        missing=len(left) - len(again),
        alarms=len({r["alarm_id"] for _, r in alarms}),
        modules=len({r[source.key] for _, r in predictions}),
        reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
    )


def address_of(dead_letter: Message) -> Address:
    """Partition and offset of the record that became this dead letter."""
    headers = dict(headers_of(dead_letter))
    return int(headers["__streams.errors.partition"] or b""), int(headers["__streams.errors.offset"] or b"")
