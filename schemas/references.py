"""Inlines the references of a schema, which a registry stores as separate schemas."""

import json
from collections.abc import Callable, Mapping
from textwrap import shorten
from typing import Any, NamedTuple

from common.errors import DependencyDownError
from schemas.access import DEPENDENCY
from schemas.errors import IncompatibleSchemaError
from schemas.load import Schema

MAX_REFERENCES = 200
_MAX_TEXT = 300


class Reference(NamedTuple):
    """A reference to another schema: its name, and the subject and version where it is registered."""

    name: str
    subject: str
    version: int


class Registered(NamedTuple):
    """A schema as a registry stores it: its JSON and its references."""

    schema: Any
    references: tuple[Reference, ...]


def registered(answer: Any, what: str) -> Registered:
    """Parse a registry's answer.

    Args:
        answer: JSON of the answer.
        what: name of the schema, for errors.

    Raises:
        IncompatibleSchemaError: the schema is not Avro.
        DependencyDownError: the answer is not in the registry's format.
    """
    text = answer.get("schema") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        raise DependencyDownError(DEPENDENCY, f"its answer has no schema for {what}")
    if answer.get("schemaType") not in (None, "AVRO"):
        kind = shorten(str(answer["schemaType"]), 40)
        raise IncompatibleSchemaError(f"{what} is {kind}, not Avro")
    try:
        references = tuple(
            Reference(str(r["name"]), str(r["subject"]), int(r["version"])) for r in answer.get("references") or ()
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DependencyDownError(DEPENDENCY, f"its answer has references of an unknown form for {what}") from error
    return Registered(schema_json(text, what), references)


def schema_json(text: str | bytes, what: str) -> Any:
    """Parse the text of a schema.

    Raises:
        IncompatibleSchemaError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IncompatibleSchemaError(f"{what} is not JSON: {error}") from error


def inlined(top: Registered, what: str, fetch: Callable[[Reference], Registered]) -> Schema:
    """Inline all references of a schema, and those of the schemas that it refers to.

    Args:
        top: the schema.
        what: name of the schema, for errors.
        fetch: returns the schema of a reference.

    Returns:
        A record, or a union as `{"type": [...]}`.

    Raises:
        IncompatibleSchemaError: the result is neither, or a reference cannot be inlined.
    """
    schemas: dict[str, Any] = {what: top.schema}
    wanted = list(top.references)
    while wanted:
        reference = wanted.pop(0)
        if reference.name in schemas:
            continue
        if len(schemas) > MAX_REFERENCES:
            raise IncompatibleSchemaError(f"{what} refers to more than {MAX_REFERENCES} other schemas")
        found = fetch(reference)
        schemas[reference.name] = found.schema
        wanted += found.references
    schema = top.schema
    if len(schemas) > 1:
        del schemas[what]
        try:
            schema = _inline(schema, "", schemas, set())
        except Exception as error:  # a registry may hold any JSON
            raise IncompatibleSchemaError(
                f"the references of {what} cannot be inlined: {shorten(repr(error), _MAX_TEXT)}"
            ) from error
    if isinstance(schema, list):
        schema = {"type": schema}
    if not isinstance(schema, dict):
        raise IncompatibleSchemaError(f"{what} is {shorten(repr(schema), 100)}, not a record")
    return schema


def _inline(schema: Any, namespace: str, parts: Mapping[str, Any], defined: set[str]) -> Any:
    """Replace the first use of each name in `parts` by its definition. Avro requires one definition, before other uses.

    So the result is no larger than its parts, and schemas that refer to each other become a recursive schema.
    """
    if isinstance(schema, str):
        full = schema if "." in schema or not namespace else f"{namespace}.{schema}"
        if full in defined or full not in parts:
            return schema
        part = parts[full]
        if isinstance(part, dict) and "." not in part.get("name", "."):
            part = {"namespace": "", **part}  # not the namespace of the enclosing schema
        return _inline(part, "", parts, defined)
    if isinstance(schema, list):
        return [_inline(branch, namespace, parts, defined) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    placed = dict(schema)
    if "name" in schema:
        its_namespace, _, name = schema["name"].rpartition(".")
        namespace = its_namespace or schema.get("namespace", namespace)
        defined.add(f"{namespace}.{name}" if namespace else name)
    for inner in ("type", "items", "values"):
        if inner in schema:
            placed[inner] = _inline(schema[inner], namespace, parts, defined)
    if "fields" in schema:
        placed["fields"] = [
            {**field, "type": _inline(field["type"], namespace, parts, defined)} for field in schema["fields"]
        ]
    return placed
