"""What the fields of an Avro record may hold, from the properties that its .avsc file declares beside their types.

Avro lets a field have properties of its own (specification, "Schema Declaration"). These are read here:

- `minimum`, `maximum`: smallest and largest value of a number, both allowed (as in JSON Schema).
- `minLength`, `maxLength`: fewest and most characters of a string.
- `unit`: of a number, for people.

They are not part of a schema's Parsing Canonical Form, so they change neither fingerprints nor the bytes of a value.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from common.environment import closest
from common.errors import UserError
from common.text import shown
from schemas.load import Schema, line_of

Kind: TypeAlias = Literal["text", "whole", "number", "other"]
"""What a field holds besides null: string; int or long; float or double; anything else."""

_KINDS: Mapping[str, Kind] = {
    "string": "text",
    "int": "whole",
    "long": "whole",
    "float": "number",
    "double": "number",
}
_RANGE, _LENGTH, _UNIT = ("minimum", "maximum"), ("minLength", "maxLength"), "unit"
_NOT_READ = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_AVRO = {"name", "type", "doc", "default", "order", "aliases"}
# How alike, from 0 to 1, the name of a property must be to one of ours to be that one misspelt.
_ALIKE = 0.84


class FieldRules(NamedTuple):
    """What one field may hold.

    Attributes:
        kind: of value.
        avro: type as written, such as long; empty where it is no plain name.
        logical: logical type, such as timestamp-millis.
        nullable: whether null is allowed.
        low: smallest number allowed; minus infinity without a rule.
        high: largest number allowed; infinity without a rule.
        shortest: fewest characters of a text.
        longest: most characters of a text; None without a rule.
        unit: of a number; empty where none is declared.
    """

    kind: Kind
    avro: str = ""
    logical: str | None = None
    nullable: bool = False
    low: float = -math.inf
    high: float = math.inf
    shortest: int = 0
    longest: int | None = None
    unit: str = ""


def field_rules(schema: Schema, file: Path) -> dict[str, FieldRules]:
    """The rules of a record's fields, by name, in the order of the schema.

    Args:
        schema: valid Avro record.
        file: that it was read from, for messages.

    Raises:
        UserError: a property has a value that it cannot have; the text names file, line and fix of each fault.
    """
    faults = [
        f"{shown(file)}:{line_of(file, 'fields', at, name)}: field {shown(field['name'])!r}: {text}"
        for at, field in enumerate(schema["fields"])
        for name, text in _faults(field)
    ]
    if faults:
        raise UserError("; ".join(faults))
    return {field["name"]: _rules(field) for field in schema["fields"]}


def _rules(field: Mapping[str, Any]) -> FieldRules:
    avro, logical, nullable = _plain(field["type"])
    return FieldRules(
        _KINDS.get(avro, "other"),
        avro,
        logical,
        nullable,
        field.get("minimum", -math.inf),
        field.get("maximum", math.inf),
        field.get("minLength", 0),
        field.get("maxLength"),
        field.get("unit", ""),
    )


def _plain(avro_type: Any) -> tuple[str, str | None, bool]:
    """Type and logical type of a field, or of the one type that a union has besides null; and whether it has null."""
    if isinstance(avro_type, list):
        others = [branch for branch in avro_type if branch != "null"]
        avro, logical, _ = _plain(others[0]) if len(others) == 1 else ("", None, False)
        return avro, logical, len(others) < len(avro_type)
    if isinstance(avro_type, dict):
        inner = avro_type.get("type")
        return inner if isinstance(inner, str) else "", avro_type.get("logicalType"), False
    return avro_type, None, False


def _faults(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each property that is wrong, and what is wrong with it."""
    kind = _KINDS.get(_plain(field["type"])[0], "other")
    yield from _misspelt(field)
    if _UNIT in field and not isinstance(field[_UNIT], str):
        yield _UNIT, f"unit must be text, not {shown(field[_UNIT], 60)}; put it in quotes"
    ranges = kind in {"whole", "number"}
    for low, high, allowed, of in ((*_RANGE, ranges, "a number"), (*_LENGTH, kind == "text", "a string")):
        given = [name for name in (low, high) if name in field]
        wrong = [name for name in given if not _is_limit(field[name], whole=low in _LENGTH)]
        for name in given:
            if not allowed:
                yield name, f"{name} is only for {of}, and this field is none; take it out"
            elif name in wrong:
                what = "a whole number of characters" if low in _LENGTH else "a finite number"
                yield name, f"{name} must be {what}, not {shown(repr(field[name]), 60)}; correct it"
        if allowed and len(given) == 2 and not wrong and field[low] > field[high]:
            yield (
                low,
                f"{low} {field[low]} is above {high} {field[high]}; no value would be allowed; correct one of them",
            )


def _misspelt(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = (*_RANGE, *_LENGTH)
    for name in field.keys() - _AVRO - {*known, _UNIT}:
        if meant := _NOT_READ.get(name) or closest(name, known, _ALIKE):
            yield name, f"property {shown(name)!r} is not read; did you mean {meant!r}?"


def _is_limit(value: object, *, whole: bool) -> bool:
    if whole:
        return type(value) is int and value >= 0
    return type(value) in {int, float} and abs(value) <= sys.float_info.max  # type: ignore[arg-type]  # a number by now
