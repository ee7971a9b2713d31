"""The event that AWS Lambda hands to a function for records of a Kafka topic, as columns of a batch.

Amazon MSK and self-managed Kafka send the same records; only `eventSource` and its ARN differ. Keys and values are
Base64, and each header is a list of bytes. Source: AWS Lambda's developer guide, "Using Lambda with Apache Kafka".
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from common.errors import UserError
from common.validation_errors import fault_texts
from worker.kafka.message import Headers
from worker.score.batch import Batch

_TIMESTAMP_TYPES = {"CREATE_TIME": TIMESTAMP_CREATE_TIME, "LOG_APPEND_TIME": TIMESTAMP_LOG_APPEND_TIME}


def _decoded(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not Base64: {error}") from error


def _header_bytes(numbers: object) -> object:
    # Java's bytes are signed, and some versions of the service send them so.
    if isinstance(numbers, list) and all(isinstance(n, int) and -128 <= n <= 255 for n in numbers):
        return bytes(n & 0xFF for n in numbers)
    return numbers


_Bytes = Annotated[bytes | None, BeforeValidator(_decoded)]
_Header = dict[str, Annotated[bytes | None, BeforeValidator(_header_bytes)]]


class KafkaRecord(BaseModel):
    """One record of the event."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: Annotated[int, Field(ge=0, lt=2**31)]
    offset: Annotated[int, Field(ge=0, lt=2**63)]
    timestamp: Annotated[int, Field(ge=-(2**63), lt=2**63)] = -1
    timestamp_type: str = Field("", alias="timestampType")
    key: _Bytes = None
    value: _Bytes = None
    headers: list[_Header] = []

    @property
    def pairs(self) -> Headers:
        """The headers in order."""
        return [pair for header in self.headers for pair in header.items()]


class KafkaEvent(BaseModel):
    """The whole event. `records` is by topic and partition, in the order of offsets."""

    model_config = ConfigDict(frozen=True)

    source: Literal["aws:kafka", "SelfManagedKafka"] = Field(alias="eventSource")
    records: dict[str, list[KafkaRecord]]

    @model_validator(mode="before")
    @classmethod
    def _not_converted(cls, event: Any) -> Any:
        """Lambda can decode values itself, and then sends no Avro."""
        records = event.get("records") if isinstance(event, dict) else None
        lists = records.values() if isinstance(records, dict) else ()
        for record in (r for each in lists if isinstance(each, list) for r in each):
            if isinstance(record, dict) and (record.get("valueSchemaMetadata") or record.get("keySchemaMetadata")):
                raise ValueError(
                    "Lambda has looked up the schemas of these records itself; remove the schema registry from the "
                    "event source mapping, because hazardstream reads Avro as it was published"
                )
        return event


def read_event(event: Any) -> KafkaEvent:
    """Check an event.

    Raises:
        UserError: it is no event of a Kafka event source mapping.
    """
    try:
        return KafkaEvent.model_validate(event)
    except ValidationError as error:
        raise UserError(f"this is no event of a Kafka event source mapping: {fault_texts(error)}") from error


def batches_of(event: KafkaEvent, topic: str) -> Iterator[Batch]:
    """The records of each partition as a batch.

    Raises:
        UserError: a record is from another topic than the pipeline's input.
    """
    of_partition: dict[int, list[KafkaRecord]] = {}
    for record in (each for records in event.records.values() for each in records):
        of_partition.setdefault(record.partition, []).append(record)
    for records in of_partition.values():
        if other := next((r.topic for r in records if r.topic != topic), None):
            raise UserError(
                f"the event has records of topic {other!r}, and the pipeline reads {topic!r}; "
                "correct the event source mapping, or HAZARDSTREAM_PIPELINE"
            )
        ordered = sorted(records, key=lambda record: record.offset)
        yield Batch(
            keys=[r.key for r in ordered],
            values=[r.value for r in ordered],
            partition=np.array([r.partition for r in ordered], np.int64),
            offset=np.array([r.offset for r in ordered], np.int64),
            broker_ts=np.array([r.timestamp for r in ordered], np.int64),
            timestamp_type=np.array(
                [_TIMESTAMP_TYPES.get(r.timestamp_type, TIMESTAMP_NOT_AVAILABLE) for r in ordered], np.int64
            ),
            headers={row: pairs for row, r in enumerate(ordered) if (pairs := r.pairs)},
        )
