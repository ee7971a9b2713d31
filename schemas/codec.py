"""Records to values and back, one at a time: fastavro does the work, `schemas.strict` keeps it honest."""

from collections.abc import Callable
from io import BytesIO
from textwrap import shorten
from typing import Any, NamedTuple, TypeAlias

from cachetools import LRUCache
from fastavro import schemaless_reader, schemaless_writer

from schemas.errors import IncompatibleSchemaError, MalformedError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.strict import compile_check, compile_fields
from schemas.wire import SchemaKey, parse_prefix

DECODERS_KEPT = 1000
MAX_WORDS = 300  # characters of another library's error text, as it goes into a header of the dead letter

BodyDecoder: TypeAlias = Callable[[bytes, int], dict[str, Any]]
"""Takes (value, start of the body) and gives the record, or raises an `UnreadableValueError`."""


def encode(record: dict[str, Any], schema: Schema, prefix: bytes) -> bytes:
    """Write one record in either wire format.

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


def decode(value: bytes, writer_schema_of: Callable[[SchemaKey], Schema], reader_schema: Schema) -> dict[str, Any]:
    """Read one message value as a record of the reader's schema.

    Args:
        value: the whole message value.
        writer_schema_of: finds the schema a value was written with; see `schemas.registry.writer_schema_lookup`.
            It should give the same object for the same key, which lets the preparation be kept.
        reader_schema: what the record is to look like, such as `load_schema("SensorReading")`.

    Returns:
        Field name to value, in no particular order. Timestamps are int milliseconds.

    Raises:
        MalformedError: the value is not exactly one record in either wire format.
        UnknownSchemaError: nobody knows the schema it names.
        IncompatibleSchemaError: that schema cannot be resolved to the reader's.
        worker.errors.DependencyDownError: the registry has to be asked and does not answer.
    """
    key, start = parse_prefix(value)
    return decoder_for(writer_schema_of(key), reader_schema)(value, start)


# By identity, as schemas are not hashable; the entry holds both schemas, so their ids stay theirs.
_decoders: LRUCache[tuple[int, int], tuple[Schema, Schema, BodyDecoder | str]] = LRUCache(DECODERS_KEPT)


def decoder_for(writer_schema: Schema, reader_schema: Schema) -> BodyDecoder:
    """Give what `compile_decoder` makes, or raise what it raises; both are kept, for a flood pays for neither."""
    identities = (id(writer_schema), id(reader_schema))
    entry = _decoders.get(identities)
    if entry is None:
        made: BodyDecoder | str
        try:
            made = compile_decoder(writer_schema, reader_schema)
        except IncompatibleSchemaError as error:
            made = str(error)
        entry = _decoders[identities] = (writer_schema, reader_schema, made)
    if isinstance(entry[2], str):
        raise IncompatibleSchemaError(entry[2])
    return entry[2]


def compile_decoder(writer_schema: Schema, reader_schema: Schema) -> BodyDecoder:
    """Prepare the reading of bodies written with one schema as records of another.

    Returns:
        A function of (value, start of the body). It raises `MalformedError` unless the body is exactly one
        record of the writer's schema, and `IncompatibleSchemaError` where only the data shows that the
        schemas do not meet (a null for a field that is not nullable here).

    Raises:
        IncompatibleSchemaError: no record of the writer's can be read.
    """
    unaliased = [{key: part for key, part in field.items() if key != "aliases"} for field in reader_schema["fields"]]
    reader = parsed(_without({**reader_schema, "fields": unaliased}, "logicalType"))
    try:
        # A writer's defaults say nothing about its bytes; one of the wrong type must not cost its records.
        writer = parsed(_without(aligned(writer_schema, reader_schema), "logicalType", "default"))
        check_body = compile_check(writer)
    except IncompatibleSchemaError:
        raise
    except Exception as error:  # a registry may hold any JSON, and fastavro trips over it in many ways
        raise IncompatibleSchemaError(
            f"the writer's schema is not valid Avro: {shorten(repr(error), MAX_WORDS)}"
        ) from error

    def decode_body(value: bytes, start: int) -> dict[str, Any]:
        check_body(value, start)
        body = BytesIO(value)
        body.seek(start)
        try:
            record: dict[str, Any] = schemaless_reader(body, writer, reader)
        except UnicodeDecodeError as error:
            raise MalformedError(f"bytes that should become a string are not UTF-8: {error.reason}") from error
        except Exception as error:  # the body is proven, so what fails here is the pair of schemas
            words = shorten(str(error), MAX_WORDS)  # fastavro quotes both schemas in full
            raise IncompatibleSchemaError(f"no way from the writer's schema to ours: {words}") from error
        return record

    return decode_body


class Fields(NamedTuple):
    """What of a value can be read with the schema it was written with.

    Attributes:
        schema: what names the writer's schema; None where the value has the prefix of neither wire format.
        record: field name (ours, where the schemas meet) to value.
        unread: fields that could not be read.
        fault: why; None where the whole body is one record of the writer's.
    """

    schema: SchemaKey | None
    record: dict[str, Any]
    unread: list[str]
    fault: str | None


def decode_fields(value: bytes, writer_schema_of: Callable[[SchemaKey], Schema], reader_schema: Schema) -> Fields:
    """Read the fields of a value up to where it breaks: for a person who looks at a bad record.

    Args:
        value: the whole message value.
        writer_schema_of: see `decode`.
        reader_schema: lends its names.

    Raises:
        worker.errors.DependencyDownError: the registry has to be asked and does not answer.
    """
    key = None
    try:
        key, start = parse_prefix(value)
        plain = _without(_with_our_names(writer_schema_of(key), reader_schema), "logicalType", "default")
        checks = compile_fields(parsed(plain))
    except UnreadableValueError as error:
        return Fields(key, {}, [], str(error))
    except Exception as error:  # noqa: BLE001 - as in compile_decoder
        return Fields(key, {}, [], f"the writer's schema is not valid Avro: {shorten(repr(error), MAX_WORDS)}")
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


def _with_our_names(writer_schema: Schema, reader_schema: Schema) -> Schema:
    try:
        return aligned(writer_schema, reader_schema)
    except IncompatibleSchemaError:
        if not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
            raise
        return writer_schema


def aligned(writer_schema: Schema, reader_schema: Schema) -> Schema:
    """Give the writer's record and fields the names the reader knows them by, following the reader's aliases.

    A field of the reader's own name wins over an alias, and an earlier alias over a later one. (fastavro
    follows aliases too, but breaks where a writer has a field under two of its names.)
    https://avro.apache.org/docs/1.12.0/specification/#aliases

    Args:
        writer_schema: a record schema.
        reader_schema: a record schema with `aliases` on its fields.

    Returns:
        The writer's schema under our names. The order and types of fields are unchanged: it still describes
        the writer's bytes.

    Raises:
        IncompatibleSchemaError: the writer's is not a record, or one of another name; it lacks a field that has
            no default here; or both give a field different logical types, so that the same number would mean
            something else.
    """
    if not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
        raise IncompatibleSchemaError("the writer's schema is not a record")
    namespace, dot, their_name = writer_schema["name"].rpartition(".")
    our_name = reader_schema["name"].rpartition(".")[2]
    our_names = (our_name, *(alias.rpartition(".")[2] for alias in reader_schema.get("aliases", ())))
    if their_name not in our_names:
        raise IncompatibleSchemaError(f"the writer's record is a {their_name}, and {our_name} is read")
    writer_fields = {field["name"]: field for field in writer_schema["fields"]}
    new_names: dict[str, str] = {}
    for field in reader_schema["fields"]:
        source = next((name for name in (field["name"], *field.get("aliases", ())) if name in writer_fields), None)
        if source is not None:
            new_names[source] = field["name"]
            _require_same_logical_type(field, writer_fields[source])
        elif "default" not in field:
            raise IncompatibleSchemaError(
                f"the writer's schema has no field {field['name']!r} (nor {field.get('aliases', [])}), "
                "and there is no default for it"
            )
    fields = [{**field, "name": new_names.get(field["name"], field["name"])} for field in writer_schema["fields"]]
    return {**writer_schema, "name": f"{namespace}{dot}{our_name}", "fields": fields}


def _require_same_logical_type(reader_field: Schema, writer_field: Schema) -> None:
    theirs, ours = _logical_types(writer_field["type"]), _logical_types(reader_field["type"])
    if theirs and ours and theirs != ours:
        raise IncompatibleSchemaError(
            f"the writer's {writer_field['name']!r} is {', '.join(theirs)}, and {', '.join(ours)} is read"
        )


def _logical_types(schema: Any) -> list[str]:
    branches = schema if isinstance(schema, list) else [schema]
    return [branch["logicalType"] for branch in branches if isinstance(branch, dict) and "logicalType" in branch]


def _without(schema: Any, *attributes: str) -> Any:
    """Copy without these attributes, at any depth. Without logical types a timestamp stays a number."""
    if isinstance(schema, dict):
        return {key: _without(part, *attributes) for key, part in schema.items() if key not in attributes}
    if isinstance(schema, list):
        return [_without(item, *attributes) for item in schema]
    return schema
