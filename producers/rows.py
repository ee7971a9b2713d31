"""Publishes records of any Avro schema, and tells where each is stored."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, Message

from common.errors import DependencyDownError, UserError
from producers.kafka_publisher import value_prefix
from schemas.codec import encode
from schemas.load import parsed
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import client_config, producer
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED

_FLUSH_S = 60.0

Address = tuple[int, int]
"""Partition and offset."""


def publish_rows(
    pipeline: Pipeline,
    rows: Iterable[tuple[str | None, Mapping[str, Any]]],
    *,
    bootstrap: str | None = None,
    registry_url: str | None = None,
) -> list[Address]:
    """Publish records to the pipeline's input topic, and wait until all are stored.

    Args:
        pipeline: names topic and schema.
        rows: message key (None: no key) and record.
        bootstrap: brokers; None: those of the environment.
        registry_url: write Confluent's wire format; None: Avro's single-object encoding.

    Returns:
        The address of each record.

    Raises:
        UserError: a record does not fit the schema, or the registry cannot be used.
        DependencyDownError: the broker does not store the records.
    """
    schema = pipeline.input.avro_schema
    prefix, writer = value_prefix(pipeline, registry_url), parsed(schema)
    client = producer(client_config(bootstrap), PRODUCER_FIXED, PRODUCER_DEFAULTS)
    stored: dict[int, Address] = {}
    failures: list[str] = []

    def taken(number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            stored[number] = message.partition(), message.offset()
        else:
            failures.append(error.str())

    count = 0
    for number, (key, record) in enumerate(rows):
        try:
            value = encode(dict(record), writer, prefix)
        except ValueError as error:
            raise UserError(f"row {number} does not fit {schema['name']}: {error}") from error
        while True:
            try:
                client.produce(
                    pipeline.input.topic,
                    value,
                    key,
                    on_delivery=lambda error, message, number=number: taken(number, error, message),
                )
            except BufferError:
                client.poll(0.5)
            else:
                break
        client.poll(0)
        count += 1
    if client.flush(_FLUSH_S) or failures:
        raise DependencyDownError("kafka", failures[0] if failures else f"not all rows are stored after {_FLUSH_S:g} s")
    return [stored[number] for number in range(count)]
