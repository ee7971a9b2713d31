"""Messages and tables without a broker."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Message

from schemas.codec import encode
from schemas.load import Schema, parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import fingerprint, single_object_prefix
from sink.avro_rows import avro_values
from sink.batch import Origin, Part, part_of
from sink.columns import Columns
from sink.rows import Table

TOPIC = "t.predictions"
ORIGIN = Origin("predictions", TOPIC, "AAAA/+", 0)
TIME_MS = 1_780_000_000_000


def record_of(*fields: tuple[str, Any], name: str = "R") -> Schema:
    """A record with these fields."""
    return {"type": "record", "name": name, "fields": [{"name": n, "type": kind} for n, kind in fields]}


def message(
    value: bytes | None, offset: int = 0, key: bytes | None = b"k", time_ms: int = TIME_MS, **more: Any
) -> Message:
    """A message of partition 0."""
    return Message(topic=TOPIC, partition=0, offset=offset, key=key, value=value, timestamp=(2, time_ms), **more)


def written(schema: Schema, record: dict[str, Any]) -> bytes:
    """A record as a message value, with the fingerprint of its schema."""
    return encode(record, parsed(schema), single_object_prefix(schema))


def table(schema: Schema, *writers: Schema, columns: Columns | None = None) -> Table:
    """A table of records with a schema, of which other writers may have others."""
    known = {fingerprint(each): each for each in (schema, *writers)}
    columns = columns or Columns({})
    return Table("predictions", TOPIC, columns, avro_values(schema, writer_schema_lookup(None, known), columns))


def part(of: Table, values: Iterable[bytes | None], expected: int | None = None) -> Part:
    """The next records of the partition."""
    first = expected or 0
    return part_of(of, ORIGIN, expected, first, [message(value, first + i) for i, value in enumerate(values)])
