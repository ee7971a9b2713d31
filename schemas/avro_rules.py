"""Rules of the Avro specification that the Avro library does not check, or reports without the place.

Names, enum symbols, defaults, unions and aliases: https://avro.apache.org/docs/1.12.0/specification/
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from common.environment import closest
from common.text import shown

Place = tuple[str | int, ...]
Found = tuple[Place, str]
"""Path to a value in the schema, and what is wrong with it, with the fix."""

PRIMITIVE = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(rf"{NAME.pattern}(\.{NAME.pattern})*")
_LEGAL = "write letters, digits and _, and no digit first"
_NAMED = ("record", "enum", "fixed")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BITS = {"int": 31, "long": 63}
_SHOWN, _ALIKE = 60, 0.6


def avro_faults(schema: Any) -> Iterator[Found]:
    """What is wrong with a schema, which may be any JSON."""
    yield from _type(schema, (), {})


def _type(avro: Any, at: Place, named: dict[str, Any]) -> Iterator[Found]:
    """Faults of a type. `named` gets the types that it defines, by simple name and by full name."""
    if isinstance(avro, str):
        if avro not in PRIMITIVE and avro not in named:
            hint = closest(avro, (*PRIMITIVE, *named), _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else "name one of Avro's, or one that is defined before"
            yield at, f"there is no type {shown(avro, _SHOWN)!r}; {advice}"
    elif isinstance(avro, list):
        yield from _union(avro, at, named)
    elif not isinstance(avro, dict):
        yield at, f"{shown(repr(avro), _SHOWN)} is no type; name one, such as double"
    elif (kind := avro.get("type")) in _NAMED:
        yield from _definition(avro, at, named)
    elif kind in ("array", "map"):
        part = "items" if kind == "array" else "values"
        yield from _type(avro.get(part), (*at, part), named)
    else:  # a type with properties, such as a logical type
        yield from _type(kind, (*at, "type"), named)


def _union(branches: list[Any], at: Place, named: dict[str, Any]) -> Iterator[Found]:
    kinds = Counter(_kind(branch) for branch in branches)
    if repeated := [kind for kind, count in kinds.items() if count > 1 and kind != "union"]:
        yield at, f"the union has {', '.join(map(shown, repeated))} more than once; take one out"
    for number, branch in enumerate(branches):
        yield from _type(branch, (*at, number), named)


def _kind(branch: Any) -> str:
    if isinstance(branch, list):
        return "union"
    if not isinstance(branch, dict):
        return str(branch)
    return str(branch.get("name") if branch.get("type") in _NAMED else branch.get("type"))


def _definition(avro: dict[str, Any], at: Place, named: dict[str, Any]) -> Iterator[Found]:
    name, namespace, kind = avro.get("name"), avro.get("namespace"), avro["type"]
    yield from _dotted(name, f"the name of the {kind}", (*at, "name"))
    if namespace:
        yield from _dotted(namespace, "the namespace", (*at, "namespace"))
    aliases = avro.get("aliases")
    for number, alias in enumerate(aliases if isinstance(aliases, list) else []):
        yield from _dotted(alias, "the alias", (*at, "aliases", number))
    named[str(name).rpartition(".")[2]] = named[str(name)] = named[f"{namespace}.{name}"] = avro
    if kind == "record":
        yield from _fields(avro, at, named)
    elif kind == "enum":
        yield from ((at, f"enum {shown(name)!r}: {text}") for text in _enum(avro))
    elif kind == "fixed" and not (type(size := avro.get("size")) is int and size >= 0):
        yield (
            (*at, "size"),
            f"the size of {shown(name)!r} must be a number of bytes, not {shown(repr(size), _SHOWN)}; correct it",
        )


def _enum(avro: dict[str, Any]) -> Iterator[str]:
    symbols = avro.get("symbols")
    if not (isinstance(symbols, list) and symbols):
        yield "it has no list of symbols; add it, with at least one"
        return
    illegal = [symbol for symbol in symbols if not (isinstance(symbol, str) and NAME.fullmatch(symbol))]
    yield from (f"the symbol {shown(repr(symbol), _SHOWN)} is no legal name; {_LEGAL}" for symbol in illegal)
    if not illegal:
        yield from (
            f"the symbol {s!r} is given twice; take one of them out" for s, n in Counter(symbols).items() if n > 1
        )
        if "default" in avro and avro["default"] not in symbols:
            yield f"the default {shown(repr(avro['default']), _SHOWN)} is none of its symbols; correct it"


def _dotted(name: Any, what: str, at: Place) -> Iterator[Found]:
    if not (isinstance(name, str) and _DOTTED.fullmatch(name)):
        yield at, f"{what}, {shown(repr(name), _SHOWN)}, is no legal name; {_LEGAL}"


def _fields(record: dict[str, Any], at: Place, named: dict[str, Any]) -> Iterator[Found]:
    fields = record.get("fields")
    if not isinstance(fields, list):
        yield (*at, "fields"), f"the record {shown(record.get('name'), _SHOWN)!r} has no list of fields; add it"
        return
    seen = set[str]()
    for number, field in enumerate(fields):
        place = (*at, "fields", number)
        if not isinstance(field, dict):
            yield place, f"{shown(repr(field), _SHOWN)} is no field; write a name and a type"
            continue
        name = field.get("name")
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            yield (*place, "name"), f"the name of a field, {shown(repr(name), _SHOWN)}, is no legal name; {_LEGAL}"
            continue
        found = [*_field(field, place, named, seen)]
        yield from ((where, f"field {name!r}: {text}") for where, text in found)


def _field(field: dict[str, Any], place: Place, named: dict[str, Any], seen: set[str]) -> Iterator[Found]:
    if "type" not in field:
        yield place, "it has no type; add one"
        return
    wrong = [*_type(field["type"], (*place, "type"), named)]
    yield from wrong
    if "default" in field and not wrong and not fits(field["default"], field["type"], named):
        yield (
            (*place, "default"),
            f"the default {shown(repr(field['default']), _SHOWN)} does not fit its type; correct it",
        )
    aliases = field.get("aliases")
    for alias in aliases if isinstance(aliases, list) else []:
        if not (isinstance(alias, str) and NAME.fullmatch(alias)):
            yield (*place, "aliases"), f"the alias {shown(repr(alias), _SHOWN)} is no legal name; {_LEGAL}"
        elif alias in seen:
            yield (*place, "aliases"), f"the alias {alias!r} is given already; take one of them out"
        seen.add(str(alias))


def fits(value: Any, avro: Any, named: Mapping[str, Any]) -> bool:
    """Whether a JSON value is a default of a type without faults. One of a union fits any of its branches."""
    if isinstance(avro, list):
        return any(fits(value, branch, named) for branch in avro)
    if isinstance(avro, str):
        return fits(value, named[avro], named) if avro in named else _fits_primitive(value, avro)
    kind = avro["type"]
    if kind == "array":
        return isinstance(value, list) and all(fits(each, avro["items"], named) for each in value)
    if kind == "map":
        return isinstance(value, dict) and all(fits(each, avro["values"], named) for each in value.values())
    if kind in _NAMED:
        return _fits_named(value, avro, named)
    return fits(value, kind, named)


def _fits_named(value: Any, avro: dict[str, Any], named: Mapping[str, Any]) -> bool:
    if avro["type"] == "enum":
        return value in avro["symbols"]
    if avro["type"] == "fixed":
        return _fits_primitive(value, "bytes") and len(value) == avro["size"]
    return isinstance(value, dict) and all(
        fits(value[field["name"]], field["type"], named) if field["name"] in value else "default" in field
        for field in avro["fields"]
    )


def _fits_primitive(value: Any, kind: str) -> bool:
    if kind in _BITS:
        return type(value) is int and -(2 ** _BITS[kind]) <= value < 2 ** _BITS[kind]
    if kind in {"float", "double"}:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str) and not _SURROGATE.search(value)
    if kind == "bytes":  # each character is one of them
        return isinstance(value, str) and all(char <= "\u00ff" for char in value)
    return value is None if kind == "null" else isinstance(value, bool)
