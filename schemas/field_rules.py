"""The rules of an Avro record's fields, from properties that its .avsc file declares.

Avro allows additional properties on a field (specification, "Schema Declaration"). These are read here:

- `minimum`, `maximum`: the smallest and largest allowed value of a number (as in JSON Schema).
- `minLength`, `maxLength`: the smallest and largest allowed number of characters of a string.
- `unit`: the unit of a number, for people.

They are not part of a schema's Parsing Canonical Form, so they do not change fingerprints or encoded values.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from common.environment import closest
from common.errors import UserError
from common.text import shown
from schemas.load import Schema, line_of
from schemas.resolution import named_types

Kind: TypeAlias = Literal["text", "whole", "number", "flag", "other"]
"""Type of a field, apart from null: string or enum; int or long; float or double; boolean; anything else."""

_KINDS: Mapping[str, Kind] = {
    "string": "text",
    "enum": "text",
    "boolean": "flag",
    "int": "whole",
    "long": "whole",
    "float": "number",
    "double": "number",
}
_RANGE, _LENGTH, _UNIT = ("minimum", "maximum"), ("minLength", "maxLength"), "unit"
# What other schema languages call them, in lower case.
_NOT_READ = {
    "exclusiveminimum": "minimum",
    "exclusivemaximum": "maximum",
    "min": "minimum",
    "max": "maximum",
    "minlen": "minLength",
    "maxlen": "maxLength",
    "minlength": "minLength",
    "maxlength": "maxLength",
}
_AVRO = {"name", "type", "doc", "default", "order", "aliases"}
# Similarity, from 0 to 1, from which the name of a property counts as a misspelling of one of these.
_ALIKE = 0.84
_BEYOND_LONG = 2**63


class FieldRules(NamedTuple):
    """The rules of one field.

    Attributes:
        kind: type of its values.
        avro: Avro type, such as long; empty if it is a union of several.
        logical: logical type, such as timestamp-millis.
        nullable: whether null is allowed.
        low: smallest allowed number; minus infinity without a rule.
        high: largest allowed number; infinity without a rule.
        shortest: smallest allowed number of characters.
        longest: largest allowed number of characters; None without a rule.
        unit: unit of a number; empty if none is declared.
        symbols: of an enum; otherwise empty.
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
    symbols: tuple[str, ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether values are numbers; a boolean is 0 or 1."""
        return self.kind in {"whole", "number", "flag"}


def field_rules(schema: Schema, file: Path) -> dict[str, FieldRules]:
    """The rules of a record's fields, by name, in the order of the schema.

    Args:
        schema: valid Avro record.
        file: the file of the schema, for messages.

    Raises:
        UserError: a property has an invalid value. The text names file, line and remedy of each fault.
    """
    enums = named_types(schema)
    faults = [
        f"{shown(file)}:{line_of(file, 'fields', at, name)}: field {shown(field['name'])!r}: {text}"
        for at, field in enumerate(schema["fields"])
        for name, text in (*_unreadable(schema, field), *_faults(field, enums))
    ]
    if faults:
        raise UserError("; ".join(faults))
    return {field["name"]: _rules(field, enums) for field in schema["fields"]}


def _rules(field: Mapping[str, Any], named: Mapping[str, Any]) -> FieldRules:
    avro, logical, nullable = _plain(field["type"], named)
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
        _symbols(field["type"], named),
    )


def _symbols(avro_type: Any, named: Mapping[str, Any]) -> tuple[str, ...]:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    defined = (named.get(branch, branch) if isinstance(branch, str) else branch for branch in branches)
    return next((tuple(d["symbols"]) for d in defined if isinstance(d, dict) and d.get("type") == "enum"), ())


def _plain(avro_type: Any, named: Mapping[str, Any]) -> tuple[str, str | None, bool]:
    """Type and logical type of a field (of the other branch if it is a union with null), and whether it is nullable."""
    if isinstance(avro_type, list):
        others = [branch for branch in avro_type if branch != "null"]
        avro, logical, _ = _plain(others[0], named) if len(others) == 1 else ("", None, False)
        return avro, logical, len(others) < len(avro_type)
    if isinstance(avro_type, dict):
        inner = avro_type.get("type")
        return inner if isinstance(inner, str) else "", avro_type.get("logicalType"), False
    if avro_type in named:
        return named[avro_type]["type"], None, False
    return avro_type, None, False


def _faults(field: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each invalid property, and the problem."""
    kind = _KINDS.get(_plain(field["type"], named)[0], "other")
    yield from _misspelt(field)
    if _UNIT in field and not isinstance(field[_UNIT], str):
        yield _UNIT, f"unit must be text, not {shown(field[_UNIT], 60)}; put it in quotes"
    ranges = kind in {"whole", "number"}
    for low, high, allowed, of in ((*_RANGE, ranges, "a number"), (*_LENGTH, kind == "text", "a string")):
        given = [name for name in (low, high) if name in field]
        if not allowed:
            yield from ((name, f"{name} is only for {of}, which this field is not; remove it") for name in given)
            continue
        is_limit, what = _LIMITS[kind]
        wrong = [name for name in given if not is_limit(field[name])]
        for name in given:
            if name in wrong:
                yield name, f"{name} must be {what}, not {shown(repr(field[name]), 60)}; correct it"
        if len(given) == 2 and not wrong and field[low] > field[high]:
            yield (
                low,
                f"{low} {field[low]} is above {high} {field[high]}, so no value is allowed; correct one of them",
            )


def _unreadable(schema: Schema, field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the Avro library accepts, and no record could be read with."""
    if sum(other["name"] == field["name"] for other in schema["fields"]) > 1:
        yield "name", "another field has the same name; rename one of them"
    outer = {schema["name"], ".".join(filter(None, (schema.get("namespace"), schema["name"])))}
    try:
        _require_flat(field["type"], frozenset(outer))
    except ValueError as error:
        yield "type", str(error)


def _require_flat(avro_type: Any, enclosing: frozenset[str]) -> None:
    """Raise ValueError for a type that contains itself, and for a union directly in a union."""
    if isinstance(avro_type, str) and avro_type in enclosing:
        raise ValueError(f"type {shown(avro_type)!r} contains itself, and recursive types are not read; take it out")
    if isinstance(avro_type, list):
        if any(isinstance(branch, list) for branch in avro_type):
            raise ValueError("a union stands directly in a union, which Avro does not allow; make it one union")
        for branch in avro_type:
            _require_flat(branch, enclosing)
    elif isinstance(avro_type, dict):
        own = enclosing | {avro_type["name"]} if avro_type.get("type") == "record" else enclosing
        for inner in (
            *(f["type"] for f in avro_type.get("fields", ())),
            *(avro_type.get(n) for n in ("items", "values")),
        ):
            if inner is not None:
                _require_flat(inner, own)


def _misspelt(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = (*_RANGE, *_LENGTH)
    for name in field.keys() - _AVRO - {*known, _UNIT}:
        if meant := _NOT_READ.get(name.lower()) or closest(name, known, _ALIKE):
            yield name, f"property {shown(name)!r} is not read; did you mean {meant!r}?"


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value < _BEYOND_LONG


def _is_finite(value: object) -> bool:
    return type(value) in {int, float} and abs(value) <= sys.float_info.max  # type: ignore[arg-type]  # a number by now


def _is_whole(value: object) -> bool:
    """Whether Pydantic takes the value as a limit of integers: of floats only those that are exact."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < _BEYOND_LONG
    return _is_finite(value)


_LIMITS: Mapping[Kind, tuple[Callable[[object], bool], str]] = {
    "text": (_is_length, "a whole number of characters"),
    "whole": (_is_whole, "a whole number"),
    "number": (_is_finite, "a finite number"),
}
"""What the limits of a kind of field must be, and how messages say it."""
