"""Reads Avro schemas from .avsc files."""

import json
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from fastavro.schema import parse_schema

from common.errors import UserError
from common.text import shown
from schemas.avro_rules import avro_faults

Schema: TypeAlias = dict[str, Any]
"""An Avro schema as a JSON object. Do not change it: loaded schemas are shared."""


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
        schema = json.loads(file.read_bytes(), object_pairs_hook=partial(_without_repeats, file))
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read ({error.strerror}); correct its permissions") from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UserError(f"{shown(file)}:{line}: not valid JSON ({shown(error, 200)}); correct it") from error
    if not (isinstance(schema, dict) and schema.get("type") == "record" and isinstance(schema.get("fields"), list)):
        raise UserError(f"{shown(file)}:1: not an Avro record; make it one")
    try:
        found = [
            f"{shown(file)}:{line_of(file, *at)}: not a valid Avro schema: {text}" for at, text in avro_faults(schema)
        ]
        if not found:
            parsed(schema)
    except Exception as error:  # a file may hold any JSON, and fastavro fails on it in many ways
        raise UserError(f"{shown(file)}:1: not a valid Avro schema ({shown(error, 200)}); correct it") from error
    if found:
        raise UserError("; ".join(found))
    return schema


def _without_repeats(file: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Of a repeated name, every reader takes another value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        of = f" of {shown(repr(found['name']), 60)}" if "name" in found else ""
        raise UserError(f"{shown(file)}:1: property {shown(name, 60)!r}{of} is given twice; take one of them out")
    return found


def parsed(schema: Schema) -> Schema:
    """Check a schema and convert it to fastavro's parsed form, with which `encode` is fastest.

    Args:
        schema: any Avro schema, parsed or not.

    Returns:
        A new object with fully qualified names; the input is not changed.

    Raises:
        fastavro.schema.SchemaParseException: the schema breaks Avro's rules.
    """
    result: Schema = parse_schema(schema)
    return result


def line_of(file: Path, *place: str | int) -> int:
    """The line of a JSON file, from 1, on which a value begins.

    Args:
        file: valid JSON.
        place: path to the value: names and positions, such as `"fields", 3, "minimum"`.

    Returns:
        The line of the value, or of the innermost existing value on the path; 1 if the file is not readable any more.
    """
    try:
        # The YAML parser reads JSON and knows lines, but rejects tabs, which JSON allows between values.
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
