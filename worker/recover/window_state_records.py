"""Decodes records of window state: thousands at a time, column by column."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from common.arrays import NEVER, Bool, Float, Int
from schemas.codec import decoder_for
from schemas.columnar_decoder import PADDING, Decoded, Plan, decode_columns, decoding_plan, primitive
from schemas.errors import IncompatibleSchemaError, MalformedError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.resolution import aligned, field_conversions
from schemas.text_column import TextColumn
from schemas.wire import CONFLUENT_MAGIC, CONFLUENT_PREFIX_LENGTH, SINGLE_OBJECT_PREFIX_LENGTH, parse_prefix
from worker.config.window_state_schema import last_field
from worker.score.decode import WriterSchemaOf
from worker.windows.aggregates import Layout, RingPlan
from worker.windows.staged_aggregates import KeyTimes


class Records(NamedTuple):
    """Decoded records.

    Attributes:
        row: rows of the values that were given, ascending, shape [n].
        columns: of the records.
        lacking: fields that the writer did not have.
    """

    row: Int
    columns: Decoded
    lacking: frozenset[str]


class Unreadable(NamedTuple):
    """A value that is none of the records."""

    row: int
    error: UnreadableValueError


def schema_to_read(schema: Schema) -> Schema:
    """The schema of window state without the text of the key: the key of the Kafka record is enough."""
    return parsed({**schema, "fields": [field for field in schema["fields"] if field["name"] != "key"]})


def decode_records(
    values: list[bytes], schema: Schema, writer_schema_of: WriterSchemaOf
) -> Iterator[Records | Unreadable]:
    """Decode values.

    Args:
        values: of the messages.
        schema: from `schema_to_read`, of window state as the pipeline has it now.
        writer_schema_of: finds the writer's schema.

    Yields:
        Records in the order of the values, but for those that are decoded one by one.

    Raises:
        DependencyDownError: the registry is needed and does not answer.
    """
    length = np.fromiter(map(len, values), np.int64, len(values))
    buffer, start = np.frombuffer(b"".join((*values, bytes(PADDING))), np.uint8), np.cumsum(length) - length
    for prefix, numbered in groupby(enumerate(map(_prefix, values)), itemgetter(1)):
        at = np.array([row for row, _ in numbered], np.int64)
        try:
            key, body = parse_prefix(values[at[0]])
            if body != len(prefix):
                raise MalformedError("no worker writes values of this format")
            plan, lacking = _plan(writer_schema_of(key), schema)
        except UnreadableValueError as error:
            yield from (Unreadable(row, error) for row in at.tolist())
            continue
        columns = decode_columns(plan, buffer, start[at] + body, (start + length)[at])
        yield Records(at[columns.understood], _take(columns, columns.understood), lacking)
        for each in at[~columns.understood].tolist():  # such as those with huge numbers
            try:
                record = decoder_for(writer_schema_of(key), schema)(values[each], body)
            except UnreadableValueError as error:
                yield Unreadable(each, error)
            else:
                yield Records(np.array([each]), _columns_of(record, schema), lacking)


def _prefix(value: bytes) -> bytes:
    return value[: CONFLUENT_PREFIX_LENGTH if value[:1] == CONFLUENT_MAGIC else SINGLE_OBJECT_PREFIX_LENGTH]


def _plan(written: Schema, schema: Schema) -> tuple[Plan, frozenset[str]]:
    """How to decode records of a writer, and which fields it did not have."""
    writer = aligned(written, schema)
    plan = decoding_plan(writer, schema, field_conversions(writer, schema, None))
    if plan is None:
        raise IncompatibleSchemaError("its fields have other types")
    # Skipped as bytes, a text that is not ASCII does not need the record-by-record decoder.
    as_bytes = (each._replace(kind="bytes") if (each.kind, each.target) == ("string", None) else each for each in plan)
    return tuple(as_bytes), frozenset(_names(schema) - _names(writer))


def _names(schema: Schema) -> set[str]:
    return {field["name"] for field in schema["fields"]}


def _take(columns: Decoded, rows: Bool) -> Decoded:
    return Decoded(
        {name: column.take(rows) for name, column in columns.text.items()},
        {name: column[rows] for name, column in columns.integer.items()},
        {name: column[rows] for name, column in columns.floating.items()},
        {name: column[rows] for name, column in columns.present.items()},
        columns.understood[rows],
    )


def _columns_of(record: dict[str, Any], schema: Schema) -> Decoded:
    """The columns of one record."""
    out = Decoded({}, {}, {}, {}, np.ones(1, np.bool_))
    for field in schema["fields"]:
        name, value = field["name"], record[field["name"]]
        out.present[name] = np.array([value is not None])
        match primitive(field["type"])[0]:
            case "string":
                out.text[name] = TextColumn.of([value.encode()])
            case "long":
                out.integer[name] = np.array([value or 0], np.int64)
            case _:
                out.floating[name] = np.array([value or 0.0], np.float64)
    return out


def key_times(layout: Layout, columns: Decoded, rows: Int, topic_id: str) -> KeyTimes:
    """What these records say of their keys. topic_id: of the input topic; offsets of a former one mean nothing."""
    ours = TextColumn.of([topic_id.encode()]).take(np.zeros(len(rows), np.int64))
    same = columns.text["source_topic_id"].take(rows).equals(ours)
    last = np.full((len(rows), len(layout.last)), NEVER)
    for at, selection in enumerate(layout.last):
        field = last_field(layout.selections[selection].name)
        if field in columns.integer:
            last[:, at] = np.where(columns.present[field][rows], columns.integer[field][rows], NEVER)
    newest, clock = columns.integer["newest_ts"][rows], columns.integer["clock_ts"][rows]
    return KeyTimes(newest, clock, np.where(same, columns.integer["source_offset"][rows] + 1, 0), last)


def bucket_content(layout: Layout, ring: RingPlan, columns: Decoded, rows: Int) -> Float:
    """What these records hold in their buckets, shape [n, columns]."""
    content = np.tile(ring.neutral, (len(rows), 1))
    for at, column in enumerate(ring.columns):
        field = layout.column_name(column)
        if field in columns.floating:
            values, present = columns.floating[field][rows], columns.present[field][rows]
            content[:, at] = np.where(present, values, content[:, at])
    return content
