"""Schemas as a registry keeps them, apart, put together: what one refers to is put in its place."""

import json
from collections.abc import Callable, Mapping
from textwrap import shorten
from typing import Any, NamedTuple

from common.errors import DependencyDownError
from schemas.access import DEPENDENCY
from schemas.errors import IncompatibleSchemaError
from schemas.load import Schema

MAX_REFERENCES = 200
_MAX_WORDS = 300


class Reference(NamedTuple):
    """Where a schema that another one refers to by name is registered."""

    name: str
    subject: str
    version: int


class Registered(NamedTuple):
    """A schema as a registry keeps it: its JSON, and what that refers to."""

    schema: Any
    references: tuple[Reference, ...]


def registered(told: Any, what: str) -> Registered:
    """Read a registry's answer.

    Args:
        told: its JSON.
        what: the schema's name for an error.

    Raises:
        IncompatibleSchemaError: it is not Avro.
        DependencyDownError: this is no registry's answer.
    """
    text = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(text, str):
        raise DependencyDownError(DEPENDENCY, f"answers without a schema when asked for {what}")
    if told.get("schemaType") not in (None, "AVRO"):
        kind = shorten(str(told["schemaType"]), 40)
        raise IncompatibleSchemaError(f"{what} is {kind}, not Avro")
    try:
        references = tuple(
            Reference(str(r["name"]), str(r["subject"]), int(r["version"])) for r in told.get("references") or ()
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DependencyDownError(DEPENDENCY, f"answers with references of no known form for {what}") from error
    return Registered(schema_json(text, what), references)


def schema_json(text: str | bytes, what: str) -> Any:
    """Read a schema's text.

    Raises:
        IncompatibleSchemaError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IncompatibleSchemaError(f"{what} is not JSON: {error}") from error


def inlined(top: Registered, what: str, fetch: Callable[[Reference], Registered]) -> Schema:
    """Put a schema together with all that it refers to.

    Args:
        top: the schema.
        what: its name for an error.
        fetch: gets what a reference stands for.

    Returns:
        A record, or a union as `{"type": [...]}`.

    Raises:
        IncompatibleSchemaError: it is neither, or cannot be put together.
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
            schema = _put_in_place(schema, "", schemas, set())
        except Exception as error:  # whatever JSON a registry holds
            raise IncompatibleSchemaError(
                f"{what} cannot be put together: {shorten(repr(error), _MAX_WORDS)}"
            ) from error
    if isinstance(schema, list):
        schema = {"type": schema}
    if not isinstance(schema, dict):
        raise IncompatibleSchemaError(f"{what} is {shorten(repr(schema), 100)}, not a record")
    return schema


def _put_in_place(schema: Any, namespace: str, parts: Mapping[str, Any], defined: set[str]) -> Any:
    """Write each schema of `parts` out where its name is used first, as Avro wants it: once, and before other uses.

    So the result is no larger than its parts, and schemas that refer to each other become a recursive one.
    """
    if isinstance(schema, str):
        full = schema if "." in schema or not namespace else f"{namespace}.{schema}"
        if full in defined or full not in parts:
            return schema
        part = parts[full]
        if isinstance(part, dict) and "." not in part.get("name", "."):
            part = {"namespace": "", **part}  # not that of the place where it is written out
        return _put_in_place(part, "", parts, defined)
    if isinstance(schema, list):
        return [_put_in_place(branch, namespace, parts, defined) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    placed = dict(schema)
    if "name" in schema:
        its_namespace, _, name = schema["name"].rpartition(".")
        namespace = its_namespace or schema.get("namespace", namespace)
        defined.add(f"{namespace}.{name}" if namespace else name)
    for inner in ("type", "items", "values"):
        if inner in schema:
            placed[inner] = _put_in_place(schema[inner], namespace, parts, defined)
    if "fields" in schema:
        placed["fields"] = [
            {**field, "type": _put_in_place(field["type"], namespace, parts, defined)} for field in schema["fields"]
        ]
    return placed
