"""Read Avro schemas from .avsc files."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from fastavro.schema import parse_schema

from common.errors import UserError
from common.text import shown

Schema: TypeAlias = dict[str, Any]
"""An Avro schema as the JSON object it is written as. Treat as read-only: the loaded ones are shared."""


def read_record(file: Path) -> Schema:
    """Read the Avro record that a file declares.

    Args:
        file: an .avsc file.

    Returns:
        The schema with docs, defaults, aliases and properties, as written in the file.

    Raises:
        UserError: the file cannot be read, is not JSON, or is not a valid Avro record.
    """
    try:
        schema = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read ({error.strerror}); correct its permissions") from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UserError(f"{shown(file)}:{line}: not valid JSON ({shown(error, 200)}); correct it") from error
    if not (isinstance(schema, dict) and schema.get("type") == "record" and isinstance(schema.get("fields"), list)):
        raise UserError(f"{shown(file)}:1: not an Avro record; make it one")
    try:
        parsed(schema)
    except Exception as error:  # a file may hold any JSON, and fastavro trips over it in many ways
        raise UserError(f"{shown(file)}:1: not a valid Avro schema ({shown(error, 200)}); correct it") from error
    return schema


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


def line_of(file: Path, *place: str | int) -> int:
    """The line of a JSON file, from 1, on which a value begins.

    Args:
        file: valid JSON.
        place: names and positions that lead to the value, from the outermost in, such as `"fields", 3, "minimum"`.

    Returns:
        The value's line, or that of the innermost value around it that there is; 1 if the file has changed.
    """
    try:
        # JSON is YAML, whose parser knows lines, but for tabs: JSON has them between values only.
        node = yaml.compose(file.read_text(encoding="utf-8-sig").replace("\t", " "), yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return 1
    for part in place:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for name, value in node.value if name.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = node.value[part]
        if inner is None:
            break
        node = inner
    return 1 if node is None else int(node.start_mark.line) + 1
