"""How a writer's schema meets the reader's: names, unions, and what has to be converted beyond Avro's rules."""

from collections.abc import Mapping
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
    """The branches of a top-level union; None where the schema is none."""
    kind = writer_schema.get("type") if isinstance(writer_schema, dict) else None
    return kind if isinstance(kind, list) else None


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
        IncompatibleSchemaError: the writer's is not a record, or one of another name; or it lacks a field that has
            no default here.
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
        elif "default" not in field:
            raise IncompatibleSchemaError(
                f"the writer's schema has no field {field['name']!r} (nor {field.get('aliases', [])}), "
                "and there is no default for it"
            )
    fields = [{**field, "name": new_names.get(field["name"], field["name"])} for field in writer_schema["fields"]]
    return {**writer_schema, "name": f"{namespace}{dot}{our_name}", "fields": fields}


class FieldConversion(NamedTuple):
    """What is done to the raw values of a field.

    Attributes:
        by_type: what to do with a value of this Python type; None: it is left as it is.
    """

    by_type: Mapping[type, Conversion | None]

    def __call__(self, raw: Any) -> Any:
        """Convert a value.

        Raises:
            IncompatibleSchemaError: a value of this branch has no meaning for the reader.
            InvalidValueError, MalformedError: it is none.
        """
        if type(raw) not in self.by_type:
            raise IncompatibleSchemaError(f"no way from a {type(raw).__name__} of the writer's union to what is read")
        convert = self.by_type[type(raw)]
        return raw if convert is None else convert(raw)


def field_conversions(writer: Schema, reader: Schema, utc_offset_ms: int | None) -> dict[str, FieldConversion]:
    """What has to be done to fields beyond Avro's rules of resolution, by name.

    Args:
        writer: a record under our names; see `aligned`.
        reader: a record.
        utc_offset_ms: local time less UTC, for times that do not say it; None: such times are not read.

    Raises:
        IncompatibleSchemaError: a field means something else to the writer than to the reader.
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
    """The reader's schema, but for fields that are converted afterwards: these are read as they were written."""
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


def named_types(schema: Any) -> dict[str, Any]:
    """Definitions of fixed types and enums within a schema, by their names as written and in full."""
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
    """A type with its definition where it is used first, and its name from then on."""
    defined = _defined(branch, named)
    if not isinstance(defined, dict) or "name" not in defined:
        return branch
    if defined["name"] in used:
        return defined["name"]
    used.add(defined["name"])
    return defined


def without(schema: Any, *attributes: str) -> Any:
    """Copy without these attributes, at any depth. Without logical types a timestamp stays a number."""
    if isinstance(schema, dict):
        return {key: without(part, *attributes) for key, part in schema.items() if key not in attributes}
    if isinstance(schema, list):
        return [without(item, *attributes) for item in schema]
    return schema
