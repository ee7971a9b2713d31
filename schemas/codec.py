"""Encodes and decodes single records. fastavro does the work, after `schemas.strict` has checked the bytes."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from textwrap import shorten
from typing import Any, NamedTuple, TypeAlias

from cachetools import LRUCache
from fastavro import schemaless_reader, schemaless_writer
from fastavro.schema import parse_schema

from schemas.errors import IncompatibleSchemaError, MalformedError, NullValueError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.resolution import aligned, field_conversions, raw_reader, union_branches, without
from schemas.strict import compile_check, compile_fields, read_long
from schemas.wire import Headers, SchemaKey, schema_of_message

DECODERS_KEPT = 1000
MAX_TEXT = 300  # characters of another library's error text, which becomes a header of the dead letter

BodyDecoder: TypeAlias = Callable[[bytes, int], dict[str, Any]]
"""A function of (value, start of the body). It returns the record or raises an `UnreadableValueError`."""


def encode(record: dict[str, Any], schema: Schema, prefix: bytes) -> bytes:
    """Encode one record in either wire format.

    Args:
        record: a value for each field that has no default, and no other keys. Timestamps as int milliseconds.
        schema: the writer's schema; pass it through `schemas.load.parsed` once when encoding many.
        prefix: from `confluent_prefix` or `single_object_prefix`.

    Returns:
        The message value.

    Raises:
        ValueError: the record does not fit the schema.
    """
    out = BytesIO()
    out.write(prefix)
    try:
        schemaless_writer(out, schema, record, strict_allow_default=True)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return out.getvalue()


def decode(
    value: bytes,
    writer_schema_of: Callable[[SchemaKey], Schema],
    reader_schema: Schema,
    headers: Headers = (),
    utc_offset_ms: int | None = None,
) -> dict[str, Any]:
    """Decode one message value as a record of the reader's schema.

    Args:
        value: the whole message value.
        writer_schema_of: finds the schema a value was written with; see `schemas.registry.writer_schema_lookup`.
            For the same key it should return the same object, so that the decoder is compiled only once.
        reader_schema: schema of the result, such as `Pipeline.input.avro_schema`.
        headers: of the message, which may name the schema.
        utc_offset_ms: local time minus UTC, for times without an offset; None: such times are errors.

    Returns:
        Field name to value, in no particular order. Timestamps are int milliseconds.

    Raises:
        MalformedError: the value is not exactly one record in any wire format.
        NullValueError: the value is the null of a top-level union.
        InvalidValueError: a time is not valid.
        UnknownSchemaError: the schema that the value names is unknown.
        IncompatibleSchemaError: that schema cannot be resolved to the reader's.
        common.errors.DependencyDownError: the registry is needed and does not answer.
    """
    key, start = schema_of_message(value, headers)
    return decoder_for(writer_schema_of(key), reader_schema, utc_offset_ms)(value, start)


# Keyed by identity, because schemas are not hashable. An entry holds both schemas, so that their ids are not reused.
_decoders: LRUCache[tuple[int, int, int | None], tuple[Schema, Schema, BodyDecoder | str]] = LRUCache(DECODERS_KEPT)


def decoder_for(writer_schema: Schema, reader_schema: Schema, utc_offset_ms: int | None = None) -> BodyDecoder:
    """`compile_decoder`, cached. Errors are cached too, so that many bad records cost no compilation each."""
    identities = (id(writer_schema), id(reader_schema), utc_offset_ms)
    entry = _decoders.get(identities)
    if entry is None:
        made: BodyDecoder | str
        try:
            made = compile_decoder(writer_schema, reader_schema, utc_offset_ms)
        except IncompatibleSchemaError as error:
            made = str(error)
        entry = _decoders[identities] = (writer_schema, reader_schema, made)
    if isinstance(entry[2], str):
        raise IncompatibleSchemaError(entry[2])
    return entry[2]


def compile_decoder(writer_schema: Schema, reader_schema: Schema, utc_offset_ms: int | None = None) -> BodyDecoder:
    """Compile a decoder of bodies written with one schema into records of another.

    Args:
        writer_schema: a record, or a union as `{"type": [...]}`.
        reader_schema: a record.
        utc_offset_ms: see `decode`.

    Returns:
        A function of (value, start of the body). It raises `MalformedError` unless the body is exactly one
        record of the writer's schema, and `IncompatibleSchemaError` if only the data shows that the schemas
        do not match (a null for a field that is not nullable in the reader's schema).

    Raises:
        IncompatibleSchemaError: no record of the writer's schema can be read.
    """
    if (branches := union_branches(writer_schema)) is None:
        check = _writer_check(writer_schema)
        read = _record_reader(writer_schema, reader_schema, utc_offset_ms, {})
        return _checked(check, read)
    check = _writer_check(branches)
    readers = _branch_readers(branches, reader_schema, utc_offset_ms)

    def read_branch(value: bytes, start: int) -> dict[str, Any]:
        index, start = read_long(value, start)
        reader = readers[index]
        if isinstance(reader, UnreadableValueError):
            raise reader
        return reader(value, start)

    return _checked(check, read_branch)


def _checked(check: Callable[[bytes, int], None], read: BodyDecoder) -> BodyDecoder:
    def decode_body(value: bytes, start: int) -> dict[str, Any]:
        check(value, start)
        return read(value, start)

    return decode_body


def _writer_check(writer_schema: Any) -> Callable[[bytes, int], None]:
    try:
        # Defaults do not matter for the writer's bytes, so a default of the wrong type must not reject its records.
        return compile_check(parsed(without(writer_schema, "logicalType", "default")))
    except IncompatibleSchemaError:
        raise
    except Exception as error:  # a registry may hold any JSON, and fastavro fails on it in many ways
        raise _invalid(error) from error


def _invalid(error: Exception) -> IncompatibleSchemaError:
    return IncompatibleSchemaError(f"the writer's schema is not valid Avro: {shorten(repr(error), MAX_TEXT)}")


def _branch_readers(
    branches: list[Any], reader_schema: Schema, utc_offset_ms: int | None
) -> list[BodyDecoder | UnreadableValueError]:
    """For each branch of a top-level union: its decoder, or the error for its values."""
    readers: list[BodyDecoder | UnreadableValueError] = []
    named: dict[str, Any] = {}
    for branch in branches:
        reader: BodyDecoder | UnreadableValueError
        if branch in ("null", {"type": "null"}):
            reader = NullValueError("the value is the null of the writer's top-level union")
        else:
            try:
                reader = _record_reader(branch, reader_schema, utc_offset_ms, dict(named))
            except IncompatibleSchemaError as error:
                reader = error
        readers.append(reader)
        with suppress(Exception):  # _writer_check has checked it; a name that is already taken does no harm here
            parse_schema(without(branch, "logicalType", "default"), named_schemas=named)
    if not any(callable(reader) for reader in readers):
        reasons = "; ".join(str(r) for r in readers if isinstance(r, IncompatibleSchemaError))
        raise IncompatibleSchemaError(f"no branch of the writer's union can be read: {reasons}")
    return readers


def _record_reader(
    writer_schema: Any, reader_schema: Schema, utc_offset_ms: int | None, named: dict[str, Any]
) -> BodyDecoder:
    """A decoder of bodies that are known to be a record of the writer's schema."""
    try:
        ours = aligned(writer_schema, reader_schema)
        conversions = field_conversions(ours, reader_schema, utc_offset_ms)
        writer = parse_schema(without(ours, "logicalType", "default"), named_schemas=named)
        reader = parsed(raw_reader(ours, reader_schema, conversions))
    except IncompatibleSchemaError:
        raise
    except Exception as error:  # as in _writer_check
        raise _invalid(error) from error

    def read(value: bytes, start: int) -> dict[str, Any]:
        body = BytesIO(value)
        body.seek(start)
        try:
            record: dict[str, Any] = schemaless_reader(body, writer, reader)
        except UnicodeDecodeError as error:
            raise MalformedError(f"bytes that should become a string are not UTF-8: {error.reason}") from error
        except Exception as error:  # the body is valid, so the cause is the pair of schemas
            text = shorten(str(error), MAX_TEXT)  # fastavro quotes both schemas in full
            raise IncompatibleSchemaError(f"the writer's schema cannot be resolved to the reader's: {text}") from error
        for name, convert in conversions.items():
            record[name] = convert(record[name])
        return record

    return read


class Fields(NamedTuple):
    """The fields of a value that can be decoded.

    Attributes:
        schema: key of the writer's schema; None if the value names none.
        record: field name to value. Names are the reader's if the schemas match, else the writer's.
        unread: fields that could not be decoded.
        fault: the reason; None if the whole body is one record of the writer's schema.
    """

    schema: SchemaKey | None
    record: dict[str, Any]
    unread: list[str]
    fault: str | None


def decode_fields(
    value: bytes, writer_schema_of: Callable[[SchemaKey], Schema], reader_schema: Schema, headers: Headers = ()
) -> Fields:
    """Decode the fields of a value up to the first fault, to show a bad record to a person.

    Args:
        value: the whole message value.
        writer_schema_of: see `decode`.
        reader_schema: its field names are used if possible.
        headers: of the message.

    Raises:
        common.errors.DependencyDownError: the registry is needed and does not answer.
    """
    key = None
    try:
        key, start = schema_of_message(value, headers)
        writer = writer_schema_of(key)
        if (branches := union_branches(writer)) is not None:
            index, start = read_long(value, start)
            writer = branches[index]
        plain = without(_with_reader_names(writer, reader_schema), "logicalType", "default")
        checks = compile_fields(parsed(plain))
    except UnreadableValueError as error:
        return Fields(key, {}, [], str(error))
    except Exception as error:  # noqa: BLE001 - as in compile_decoder
        return Fields(key, {}, [], str(_invalid(error)))
    end, read, fault = start, 0, None
    try:
        for _, check in checks:
            end = check(value, end)
            read += 1
        if end < len(value):
            fault = f"{len(value) - end} bytes follow the record, which ends at byte {end}"
    except MalformedError as error:
        fault = str(error)
    readable = parsed({**plain, "fields": plain["fields"][:read]})
    record: dict[str, Any] = schemaless_reader(BytesIO(value[start:end]), readable)
    return Fields(key, record, [name for name, _ in checks[read:]], fault)


def _with_reader_names(writer_schema: Schema, reader_schema: Schema) -> Schema:
    try:
        return aligned(writer_schema, reader_schema)
    except IncompatibleSchemaError:
        if not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
            raise
        return writer_schema
