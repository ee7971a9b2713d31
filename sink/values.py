"""Avro values as values of columns: the kind of each field's column, and the conversion of its values."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from common.json_text import strict_json
from schemas.conversions import MAX_PRECISION, logical_type
from schemas.errors import InvalidValueError, MalformedError
from schemas.load import Schema
from schemas.resolution import named_types
from sink.columns import Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time has no zone
_KINDS: Mapping[str, Kind] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "double",
    "double": "double",
    "string": "text",
    "enum": "text",
    "bytes": "bytes",
    "fixed": "bytes",
    "null": "text",
}
_JSON = json.JSONEncoder(allow_nan=False)
_LONGEST_DECIMAL = 170  # bytes; more than MAX_PRECISION digits


class FieldValues(NamedTuple):
    """How the values of a field become those of a column.

    Attributes:
        kind: of the column.
        convert: of a value that is not null; None: the value is unchanged.
    """

    kind: Kind
    convert: Callable[[Any], Any] | None = None


def field_values(schema: Schema) -> dict[str, FieldValues]:
    """The columns of a record's fields, by name of the field."""
    named = named_types(schema)
    return {field["name"]: _of_type(field["type"], named) for field in schema["fields"]}


def _of_type(avro: Any, named: Mapping[str, Any]) -> FieldValues:
    if isinstance(avro, list):
        return _of_union([_of_type(branch, named) for branch in avro if branch not in ("null", {"type": "null"})])
    if isinstance(avro, str):
        avro = named.get(avro, avro)
    plain = avro["type"] if isinstance(avro, dict) else avro
    if isinstance(plain, dict | list):  # {"type": {"type": …}}
        return _of_type(plain, named)
    logical = logical_type(avro)
    if plain == "long" and logical in _TIMES:
        return _TIMES[logical]
    if plain == "int" and logical == "date":
        return FieldValues("date", _day)
    if plain in {"bytes", "fixed"} and logical == "decimal" and _usual(scale := avro.get("scale", 0)):
        return FieldValues("decimal", lambda raw: _decimal(raw, scale))
    kind = _KINDS.get(plain)
    return FieldValues("json", json_text) if kind is None else FieldValues(kind)


def _of_union(branches: list[FieldValues]) -> FieldValues:
    kinds = {branch.kind for branch in branches}
    if len(branches) == 1:
        return branches[0]
    if not branches:
        return FieldValues("text")
    if all(branch.convert is None for branch in branches):
        if len(kinds) == 1:
            return FieldValues(kinds.pop())
        if kinds == {"integer", "double"}:
            return FieldValues("double", float)
    return FieldValues("json", json_text)


def _usual(scale: Any) -> bool:
    return isinstance(scale, int) and 0 <= scale <= MAX_PRECISION


def _since(epoch: datetime, units_per_second: int) -> Callable[[int], datetime]:
    micros = 1_000_000 // units_per_second

    def time(raw: int) -> datetime:
        try:
            return epoch + timedelta(microseconds=raw * micros)
        except OverflowError as error:
            raise InvalidValueError(f"the time {raw} is outside of the years 1 to 9999") from error

    return time


_TIMES: Mapping[str | None, FieldValues] = {
    "timestamp-millis": FieldValues("timestamp", _since(_EPOCH, 1000)),
    "timestamp-micros": FieldValues("timestamp", _since(_EPOCH, 1_000_000)),
    "local-timestamp-millis": FieldValues("local_timestamp", _since(_LOCAL_EPOCH, 1000)),
    "local-timestamp-micros": FieldValues("local_timestamp", _since(_LOCAL_EPOCH, 1_000_000)),
}


def time_or_none(ms: int) -> datetime | None:
    """A Kafka timestamp; None if there is none, or it is outside of the calendar (producers may set any number)."""
    try:
        return _EPOCH + timedelta(milliseconds=ms) if ms >= 0 else None
    except OverflowError:
        return None


def _day(raw: int) -> date:
    try:
        return _LOCAL_EPOCH.date() + timedelta(days=raw)
    except OverflowError as error:
        raise InvalidValueError(f"the day {raw} is outside of the years 1 to 9999") from error


def _decimal(raw: bytes, scale: int) -> Decimal:
    if not raw:
        raise MalformedError("a decimal has no bytes")
    if len(raw) > _LONGEST_DECIMAL:
        raise InvalidValueError(f"a decimal has {len(raw)} bytes, which is more than {MAX_PRECISION} digits")
    unscaled = int.from_bytes(raw, signed=True)
    digits = tuple(map(int, str(abs(unscaled))))
    return Decimal((int(unscaled < 0), digits, -scale))


def json_text(value: Any) -> str:
    """A nested value as JSON: NaN and infinities are null, bytes are text or hex digits."""
    try:
        return _JSON.encode(value)
    except (ValueError, TypeError):
        return strict_json(value)
