"""Resolves a writer's schema to the reader's: names, unions, and conversions beyond Avro's rules."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemas.conversions import Conversion, conversion
from schemas.errors import IncompatibleSchemaError
from schemas.load import Schema

_PYTHON_TYPES = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "bytes": bytes,
    "fixed": bytes,
    "string": str,
    "enum": str,
}


def union_branches(writer_schema: Schema) -> list[Any] | None:
    """The branches of a top-level union; None if the schema is not one."""
    kind = writer_schema.get("type") if isinstance(writer_schema, dict) else None
    return kind if isinstance(kind, list) else None


def aligned(writer_schema: Schema, reader_schema: Schema) -> Schema:
    """Rename the writer's record and fields to the reader's names, by the reader's aliases.

    The reader's name has priority over its aliases, and an earlier alias over a later one. (fastavro supports
    aliases too, but fails if a writer has fields with two of these names.)
    https://avro.apache.org/docs/1.12.0/specification/#aliases

    Args:
        writer_schema: a record schema.
        reader_schema: a record schema with `aliases` on its fields.

    Returns:
        The writer's schema with the reader's names. The order and types of its fields are unchanged, so it still
        describes the writer's bytes.

    Raises:
        IncompatibleSchemaError: the writer's schema is not a record or has another name, or it lacks a field that
            has no default in the reader's schema.
    """
    if not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
        raise IncompatibleSchemaError("the writer's schema is not a record")
    namespace, dot, their_name = writer_schema["name"].rpartition(".")
    our_name = reader_schema["name"].rpartition(".")[2]
    our_names = (our_name, *(alias.rpartition(".")[2] for alias in reader_schema.get("aliases", ())))
    if their_name not in our_names:
        raise IncompatibleSchemaError(f"the writer's record is {their_name}, but the reader expects {our_name}")
    writer_fields = {field["name"]: field for field in writer_schema["fields"]}
    new_names: dict[str, str] = {}
    for field in reader_schema["fields"]:
        source = next((name for name in (field["name"], *field.get("aliases", ())) if name in writer_fields), None)
        if source is not None:
            new_names[source] = field["name"]
        elif "default" not in field:
            raise IncompatibleSchemaError(
                f"the writer's schema has no field {field['name']!r} (nor {field.get('aliases', [])}), "
                "which has no default"
            )
    fields = [{**field, "name": new_names.get(field["name"], field["name"])} for field in writer_schema["fields"]]
    return {**writer_schema, "name": f"{namespace}{dot}{our_name}", "fields": fields}


class FieldConversion(NamedTuple):
    """How to convert the raw values of a field.

    Attributes:
        by_type: conversion of values of each Python type; None leaves them unchanged.
    """

    by_type: Mapping[type, Conversion | None]

    def __call__(self, raw: Any) -> Any:
        """Convert a value.

        Raises:
            IncompatibleSchemaError: the reader cannot use values of this branch of the writer's union.
            InvalidValueError, MalformedError: the value is not valid.
        """
        if type(raw) not in self.by_type:
            raise IncompatibleSchemaError(f"the reader cannot use a {type(raw).__name__} of the writer's union")
        convert = self.by_type[type(raw)]
        return raw if convert is None else convert(raw)


def field_conversions(writer: Schema, reader: Schema, utc_offset_ms: int | None) -> dict[str, FieldConversion]:
    """The conversions of fields beyond Avro's resolution rules, by name.

    Args:
        writer: a record with the reader's names; see `aligned`.
        reader: a record.
        utc_offset_ms: local time minus UTC, for times without an offset; None: such times are errors.

    Raises:
        IncompatibleSchemaError: a field has different meanings for writer and reader.
    """
    types, named = {f["name"]: f["type"] for f in writer["fields"]}, named_types(writer)
    found = {}
    for field in reader["fields"]:
        name, ours = field["name"], field["type"]
        if name not in types:
            continue
        theirs = types[name] if isinstance(types[name], list) else [types[name]]
        wanted = ours if isinstance(ours, list) else [ours]
        plain = [each for each in wanted if each != "null"]
        by_type = _by_type([_defined(t, named) for t in theirs], plain[0], name, utc_offset_ms)
        if any(by_type.values()):
            if "null" not in wanted:
                by_type.pop(type(None), None)
            found[name] = FieldConversion(by_type)
    return found


def _by_type(branches: list[Any], ours: Any, name: str, utc_offset_ms: int | None) -> dict[type, Conversion | None]:
    found: dict[type, Conversion | None] = {}
    readable = (int, float, type(None)) if ours == "double" else (int, type(None))
    for branch in branches:
        convert = conversion(branch, ours, name, utc_offset_ms)
        kind = branch["type"] if isinstance(branch, dict) else branch
        python_type = _PYTHON_TYPES.get(kind) if isinstance(kind, str) else None
        if python_type is None or (convert is None and python_type not in readable):
            continue
        if found.setdefault(python_type, convert) != convert:
            raise IncompatibleSchemaError(
                f"the writer's {name!r} is a union in which a value has more than one meaning"
            )
    return found


def raw_reader(writer: Schema, reader: Schema, converted: Mapping[str, Any]) -> Schema:
    """The reader's schema, in which fields that are converted afterwards have the writer's type."""
    types, named, used = {f["name"]: f["type"] for f in writer["fields"]}, named_types(writer), set[str]()
    fields = []
    for field in reader["fields"]:
        kept = {key: part for key, part in field.items() if key != "aliases"}
        if field["name"] in converted:
            theirs = types[field["name"]]
            kept.pop("default", None)
            kept["type"] = (
                [_written_out(t, named, used) for t in theirs]
                if isinstance(theirs, list)
                else (_written_out(theirs, named, used))
            )
        fields.append(kept)
    raw: Schema = without({**reader, "fields": fields}, "logicalType")
    return raw


def expanded(avro_type: Any, named: Mapping[str, Any]) -> Any:
    """A type with the definition in place of the name of a named type."""
    if isinstance(avro_type, list):
        return [_defined(branch, named) for branch in avro_type]
    return _defined(avro_type, named)


def self_contained(fields: Iterable[Mapping[str, Any]], named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Fields that need no definition outside of them: a named type is defined where it is used first.

    Args:
        fields: some of a record's.
        named: the named types of the record, from `named_types`.
    """
    used = set[str]()

    def written_out(avro_type: Any) -> Any:
        if isinstance(avro_type, list):
            return [_written_out(branch, named, used) for branch in avro_type]
        return _written_out(avro_type, named, used)

    return [{**field, "type": written_out(field["type"])} for field in fields]


def named_types(schema: Any) -> dict[str, Any]:
    """Definitions of fixed types and enums in a schema, by name as written and by full name."""
    found: dict[str, Any] = {}

    def look(part: Any, namespace: str) -> None:
        if isinstance(part, list):
            for each in part:
                look(each, namespace)
        elif isinstance(part, dict):
            namespace = part.get("namespace", namespace)
            if part.get("type") in ("fixed", "enum") and isinstance(part.get("name"), str):
                found[part["name"]] = found[f"{namespace}.{part['name']}"] = part
            for key in ("type", "items", "values", "fields"):
                look(part.get(key), namespace)

    look(schema, "")
    return found


def _defined(branch: Any, named: Mapping[str, Any]) -> Any:
    return named.get(branch, branch) if isinstance(branch, str) else branch


def _written_out(branch: Any, named: Mapping[str, Any], used: set[str]) -> Any:
    """A type as its definition at first use, and as its name afterwards."""
    defined = _defined(branch, named)
    if not isinstance(defined, dict) or "name" not in defined:
        return branch
    name = defined["name"]
    full_name = f"{defined['namespace']}.{name}" if defined.get("namespace") and "." not in name else name
    if full_name in used:
        return full_name
    used.add(full_name)
    return defined


def without(schema: Any, *attributes: str) -> Any:
    """A copy without these attributes, at any depth. Without logical types, fastavro decodes times as numbers."""
    if isinstance(schema, dict):
        return {key: without(part, *attributes) for key, part in schema.items() if key not in attributes}
    if isinstance(schema, list):
        return [without(item, *attributes) for item in schema]
    return schema
