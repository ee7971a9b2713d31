"""Conversions that Avro's resolution rules do not include: times in other units and forms, and decimals.

They are exact except that times are rounded down to the millisecond, and decimals to the nearest double.
"""

import math
import re
from datetime import datetime
from typing import Any, NamedTuple

from schemas.errors import IncompatibleSchemaError, InvalidValueError, MalformedError

TIMESTAMP = "timestamp-millis"
_PER_MS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
MAX_PRECISION = 400  # digits; a double has at most 309 before the decimal point
_INT64 = range(-(2**63), 2**63)


class Conversion(NamedTuple):
    """How to convert the raw values of one Avro type.

    Attributes:
        to: result: `time` (ms since the epoch) or `number` (a double).
        per_ms: units per millisecond of a number; None: the value is ISO 8601 text.
        offset_ms: local time minus UTC, for values without an offset; None: they must have one.
        scale: scale of a decimal.
    """

    to: str
    per_ms: int | None = None
    offset_ms: int | None = None
    scale: int | None = None

    def __call__(self, raw: Any) -> Any:
        """Convert a value.

        Raises:
            InvalidValueError, MalformedError: the value cannot be converted.
        """
        if self.scale is not None:
            return _double(raw, self.scale)
        if self.per_ms is None:
            return iso_to_ms(raw, self.offset_ms)
        ms = raw // self.per_ms - (self.offset_ms or 0)
        if ms not in _INT64:
            raise InvalidValueError(f"the local time {raw} as UTC does not fit in 64 bits")
        return ms


def iso_to_ms(text: str, offset_ms: int | None) -> int:
    """Milliseconds since the epoch, rounded down.

    Args:
        text: ISO 8601 date and time, with or without an offset from UTC.
        offset_ms: local time minus UTC, for text without an offset; None: the text must have one.

    Raises:
        InvalidValueError: the text has another form, or no offset.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise InvalidValueError(f"the time {text[:60]!r} is not ISO 8601 with date and time (2026-01-31T12:00:00Z)")
    day, clock, fraction, zone = match.groups()
    if zone is None and offset_ms is None:
        raise InvalidValueError(
            f"the time {text!r} has no offset from UTC; add Z or an offset such as +02:00, "
            "or set the pipeline's input.utc_offset"
        )
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}")
    except ValueError as error:
        raise InvalidValueError(f"the time {text!r} does not exist: {error}") from error
    since = moment - _EPOCH
    ms = (since.days * 86_400 + since.seconds) * 1000 + int(((fraction or "") + "000")[:3])
    return ms if zone else ms - (offset_ms or 0)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def _double(raw: bytes, scale: int) -> float:
    if not raw:
        raise MalformedError("a decimal has no bytes")
    unscaled, one = int.from_bytes(raw, signed=True), int(10**scale)
    try:
        return unscaled / one  # rounded once, to the nearest double
    except OverflowError:
        return -math.inf if unscaled < 0 else math.inf


def conversion(writer_type: Any, reader_type: Any, name: str, utc_offset_ms: int | None) -> Conversion | None:
    """The conversion of a writer's type to a reader's; None if Avro's resolution rules are enough.

    Args:
        writer_type: a type that is not a union.
        reader_type: a type that is not a union.
        name: name of the field, for errors.
        utc_offset_ms: see `Conversion.offset_ms`.

    Raises:
        IncompatibleSchemaError: the logical types differ, and no conversion between them is supported.
    """
    theirs, ours = logical_type(writer_type), logical_type(reader_type)
    plain = writer_type["type"] if isinstance(writer_type, dict) else writer_type
    if ours == TIMESTAMP:
        return _time(theirs, plain, name, utc_offset_ms)
    if theirs == "decimal" and plain in ("bytes", "fixed"):
        if reader_type == "double":
            return Conversion("number", scale=_scale(writer_type, name))
        if ours == "decimal" and writer_type.get("scale", 0) == reader_type.get("scale", 0):
            return None
        raise IncompatibleSchemaError(f"the writer's {name!r} is a decimal, but the reader expects {reader_type}")
    if theirs and ours and theirs != ours:
        raise IncompatibleSchemaError(f"the writer's {name!r} is {theirs}, but the reader expects {ours}")
    return None


def _time(theirs: str | None, plain: Any, name: str, utc_offset_ms: int | None) -> Conversion | None:
    if theirs is None and plain == "string":
        return Conversion("time", None, utc_offset_ms)
    if theirs in (None, TIMESTAMP):
        return None
    local = theirs.startswith("local-")
    kind, _, unit = theirs.removeprefix("local-").rpartition("-")
    if kind != "timestamp" or unit not in _PER_MS or plain != "long":
        raise IncompatibleSchemaError(f"the writer's {name!r} is {theirs}, but the reader expects {TIMESTAMP}")
    if local and utc_offset_ms is None:
        raise IncompatibleSchemaError(
            f"the writer's {name!r} is {theirs}, a time without an offset; "
            "set the pipeline's input.utc_offset to the offset of its clocks from UTC"
        )
    return Conversion("time", _PER_MS[unit], utc_offset_ms if local else None)


def _scale(writer_type: Any, name: str) -> int:
    precision, scale = writer_type.get("precision"), writer_type.get("scale", 0)
    if not (isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision <= MAX_PRECISION):
        raise IncompatibleSchemaError(
            f"the writer's {name!r} is a decimal of precision {precision!r} and scale {scale!r}, which is not supported"
        )
    return scale


def logical_type(avro_type: Any) -> str | None:
    """The logical type of a type that is not a union; None if it has none."""
    found = avro_type.get("logicalType") if isinstance(avro_type, dict) else None
    return found if isinstance(found, str) else None
