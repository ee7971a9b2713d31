"""The Avro schemas that come with this package."""

import functools
import importlib.resources
import json
from typing import Any, TypeAlias

from fastavro.schema import parse_schema

from common.errors import UserError

Schema: TypeAlias = dict[str, Any]
"""An Avro schema as the JSON object it is written as. Treat as read-only: the loaded ones are shared."""


@functools.cache
def shipped_schemas() -> dict[str, Schema]:
    """Read every schema in `schemas/avro`.

    A superseded version of a record is kept there under another file name (`SensorReading.v1.avsc`), so
    that values written with it can still be recognised by fingerprint.

    Returns:
        File name without `.avsc` to schema.

    Raises:
        UserError: a file is not JSON.
    """
    folder = importlib.resources.files("schemas") / "avro"
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".avsc"):
            try:
                found[file.name.removesuffix(".avsc")] = json.loads(file.read_bytes())
            except ValueError as error:
                line = getattr(error, "lineno", 1)
                raise UserError(f"schemas/avro/{file.name}:{line}: not valid JSON ({error}); correct it") from error
    return found


def load_schema(name: str) -> Schema:
    """Look up the current version of one of our schemas.

    Args:
        name: record name without namespace, such as `SensorReading`.

    Returns:
        The schema with docs, defaults and aliases, as written in its file.

    Raises:
        UserError: there is no schema of that name.
    """
    schemas = shipped_schemas()
    if name not in schemas:
        raise UserError(
            f"there is no Avro schema {name!r} in schemas/avro; use one of {', '.join(schemas)}, "
            f"or add schemas/avro/{name}.avsc"
        )
    return schemas[name]


def parsed(schema: Schema) -> Schema:
    """Check a schema and put it in fastavro's parsed form, which `encode` takes fastest.

    Args:
        schema: any Avro schema, parsed or not.

    Returns:
        A new object with fully qualified names; the input is left alone.

    Raises:
        fastavro.schema.SchemaParseException: the schema breaks Avro's rules.
    """
    result: Schema = parse_schema(schema)
    return result
