"""Avro records as rows, whatever schema they were written with."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cachetools import LRUCache
from confluent_kafka import Message

from schemas.codec import decoder_for
from schemas.errors import IncompatibleSchemaError
from schemas.load import Schema, parsed
from schemas.resolution import aligned, named_types, union_branches
from schemas.wire import schema_of_message
from sink.columns import Columns
from sink.rows import Row
from sink.values import FieldValues, field_values
from worker.kafka.message import headers_of, value_of
from worker.score.decode import WriterSchemaOf

_SCHEMAS_KEPT = 1000


class _Reader(NamedTuple):
    """How values of one writer's schema are read.

    Attributes:
        writer: its schema, which is held so that its id is not used again.
        schema: the pipeline's schema and the fields that only the writer has; a text says why there is none.
        fields: name of the field, name of the column, conversion.
    """

    writer: Schema
    schema: Schema | str
    fields: list[tuple[str, str, Callable[[Any], Any] | None]]


def avro_values(schema: Schema, writer_schema_of: WriterSchemaOf, columns: Columns) -> Callable[[Message], Row]:
    """The rows of records with this schema. Fields that only a newer writer's schema has become columns too.

    A record without a value (a tombstone) is a row without values.

    Raises:
        IncompatibleSchemaError: a field does not fit the column that it had before.
    """
    columns.add({name: field.kind for name, field in field_values(schema).items()})
    readers: LRUCache[int, _Reader] = LRUCache(_SCHEMAS_KEPT)

    def values(message: Message) -> Row:
        value = value_of(message)
        if value is None:
            return {}
        key, start = schema_of_message(value, headers_of(message))
        writer = writer_schema_of(key)
        reader = readers.get(id(writer))
        if reader is None:
            reader = readers[id(writer)] = _reader(writer, schema, columns)
        if isinstance(reader.schema, str):
            raise IncompatibleSchemaError(reader.schema)
        record = decoder_for(writer, reader.schema)(value, start)
        return {
            column: raw if convert is None else convert(raw)
            for field, column, convert in reader.fields
            if (raw := record[field]) is not None
        }

    return values


def _reader(writer: Schema, ours: Schema, columns: Columns) -> _Reader:
    try:
        schema = _with_fields_of(writer, ours)
        of_fields = field_values(schema)
        columns.add({name: field.kind for name, field in of_fields.items()})
    except IncompatibleSchemaError as error:
        return _Reader(writer, str(error), [])
    return _Reader(writer, schema, _plan(of_fields, columns))


def _plan(of_fields: Mapping[str, FieldValues], columns: Columns) -> list[tuple[str, str, Callable[[Any], Any] | None]]:
    return [(name, columns.by_field[name].name, field.convert) for name, field in of_fields.items()]


def _with_fields_of(writer: Schema, ours: Schema) -> Schema:
    """Our schema with the fields that only the writer's has."""
    if union_branches(writer) is not None:
        return ours
    known, named = {field["name"] for field in ours["fields"]}, named_types(writer)
    further = [
        {"name": field["name"], "type": _written_out(field["type"], named)}
        for field in aligned(writer, ours)["fields"]
        if field["name"] not in known
    ]
    if not further:
        return ours
    schema = {**ours, "fields": [*ours["fields"], *further]}
    try:
        parsed(schema)
    except Exception as error:  # a registry may hold any JSON, and fastavro fails on it in many ways
        raise IncompatibleSchemaError(
            f"the fields that are new in the writer's schema cannot be read: {error}"
        ) from error
    return schema


def _written_out(avro: Any, named: Mapping[str, Any]) -> Any:
    """A type with its definition in place of its name, where it is an enum or of fixed length."""
    if isinstance(avro, list):
        return [_written_out(branch, named) for branch in avro]
    return named.get(avro, avro) if isinstance(avro, str) else avro
