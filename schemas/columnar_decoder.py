"""Decodes Avro binary to columns: all rows of a batch at once, field by field.

The decoder has one cursor per row and moves all of them together. It rejects nothing: rows that it does not understand
go to the record-by-record decoder, which decides. So both accept the same rows.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from schemas.conversions import Conversion
from schemas.errors import InvalidValueError
from schemas.resolution import FieldConversion
from schemas.text_column import Bytes, TextColumn

# Bytes after the last row that a cursor beyond its row may still read: a varint of 10 bytes, or a double.
PADDING = 16
LONGEST_VARINT = 10
LONGEST_INT = 5
INT_MAX = 2**31 - 1  # -2**31 is rare, so it is left to the record-by-record decoder
_EXACT = 2**53  # integers up to this are exact as doubles
_EXACT_POWER = 22  # 10**22 is the largest power of ten that is exact as a double, so that a division rounds once
_FAR = 2**62  # larger times are left to the record-by-record decoder, which does not overflow


class Field(NamedTuple):
    """A field of the writer's schema.

    Attributes:
        kind: Avro type.
        null_branch: index of null in its union; None if the type is not a union.
        target: column to fill; None to skip the field.
        size: size of a fixed type, bytes.
        conversion: conversion of the values, if any.
        symbols: of an enum.
        readable: which of the symbols the reader's enum has.
    """

    kind: str
    null_branch: int | None
    target: str | None
    size: int = 0
    conversion: Conversion | None = None
    symbols: tuple[str, ...] = ()
    readable: tuple[bool, ...] = ()


Plan = tuple[Field, ...]


def decoding_plan(
    writer: Mapping[str, Any], reader: Mapping[str, Any], conversions: Mapping[str, FieldConversion]
) -> Plan | None:
    """Plan how to decode the writer's records into columns with the reader's names.

    Supports records of strings, bytes, enums, numbers and booleans, each possibly nullable. Fields that the reader does
    not have are skipped.

    Args:
        writer: a record whose fields already have the reader's names (`schemas.resolution.aligned`).
        reader: a record.
        conversions: from `schemas.resolution.field_conversions`.

    Returns:
        The plan; None if the records must be decoded one by one.
    """
    if writer.get("type") != "record":
        return None
    wanted = {f["name"]: primitive(f["type"]) for f in reader["fields"]}
    enums = {f["name"]: enum_of(f["type"]) for f in reader["fields"]}
    plan = []
    for field in writer["fields"]:
        kind, null_branch = primitive(field["type"])
        target = field["name"] if field["name"] in wanted else None
        enum, ours = enum_of(field["type"]), enums[target] if target else None
        if kind in {None, "null"} or (ours and enum and _short_name(ours) != _short_name(enum)):
            return None
        conversion = None
        if target is not None and target in conversions:
            if null_branch is not None and wanted[target][1] is None:
                return None
            (conversion,) = (c for c in conversions[target].by_type.values() if c is not None)
        elif target is not None and not _promotes(str(kind), null_branch, wanted[target]):
            return None
        symbols = tuple(enum["symbols"]) if enum else ()
        readable = tuple(ours is None or symbol in ours["symbols"] for symbol in symbols)
        plan.append(Field(str(kind), null_branch, target, _fixed_size(field["type"]), conversion, symbols, readable))
    found = [f.target for f in plan if f.target is not None]
    optional = {f["name"] for f in reader["fields"] if "default" in f and f["default"] is None}
    if set(wanted) - set(found) - optional:
        return None
    return tuple(plan)


def primitive(avro_type: Any) -> tuple[str | None, int | None]:
    """The primitive type (or `fixed`) and the index of null in a union with it; both None for any other type."""
    if isinstance(avro_type, list):
        branches = [primitive(t)[0] for t in avro_type]
        if len(branches) != 2 or branches.count("null") != 1:
            return None, None
        null = branches.index("null")
        return branches[1 - null], null
    if isinstance(avro_type, dict):
        avro_type = avro_type.get("type")
    known = ("null", "string", "long", "int", "double", "float", "boolean", "bytes", "fixed", "enum")
    return (avro_type, None) if isinstance(avro_type, str) and avro_type in known else (None, None)


def enum_of(avro_type: Any) -> Mapping[str, Any] | None:
    """The definition of an enum, or of the one in a union with null; None for any other type."""
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    return next((t for t in branches if isinstance(t, dict) and t.get("type") == "enum"), None)


def _short_name(enum: Mapping[str, Any]) -> str:
    return str(enum["name"]).rpartition(".")[2]


def _fixed_size(avro_type: Any) -> int:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    return next((t["size"] for t in branches if isinstance(t, dict) and t.get("type") == "fixed"), 0)


def _promotes(kind: str, null_branch: int | None, wanted: tuple[str | None, int | None]) -> bool:
    into = {
        "string": ("string",),
        "enum": ("enum",),
        "boolean": ("boolean",),
        "int": ("int",),
        "long": ("long", "int"),
        "float": ("float", "long", "int"),
        "double": ("double", "float", "long", "int"),
    }
    accepted = into.get(wanted[0] or "", ())
    return kind in accepted and (null_branch is None or wanted[1] is not None)


class Decoded(NamedTuple):
    """Columns by name, which values are not null, and which rows were understood.

    `text` has strings and enums; `integer` integers and booleans.
    """

    text: dict[str, TextColumn]
    integer: dict[str, Int]
    floating: dict[str, Float]
    present: dict[str, Bool]
    understood: Bool


def decode_columns(plan: Plan, buffer: Bytes, start: Int, end: Int) -> Decoded:
    """Decode the rows in one buffer.

    Args:
        plan: plan for the writer's schema.
        buffer: the rows, followed by `PADDING` bytes.
        start: start of each row's Avro body, shape [n].
        end: its end, shape [n].
    """
    out = Decoded({}, {}, {}, {}, np.ones(len(start), np.bool_))
    understood, at = out.understood, start.copy()
    for field in plan:
        null_branch, target = field.null_branch, field.target
        present = np.ones(len(start), np.bool_)
        if null_branch is not None:
            branch = buffer[at]
            understood &= (branch == 0) | (branch == 2)  # zigzag of 0 and 1
            present = branch != 2 * null_branch
            at += 1
        length, sane = _decode_field(field, out, buffer, at, end - at, present)
        understood &= sane | ~present
        if target is not None:
            out.present[target] = present
        at += np.where(present, length, 0)
        understood &= at <= end
        np.minimum(at, end, out=at)
    understood &= at == end
    return out


def _decode_field(field: Field, out: Decoded, buffer: Bytes, at: Int, left: Int, present: Bool) -> tuple[Int, Bool]:
    """Decode one field of all rows into `out`. Returns its bytes and whether it was understood, per row."""
    kind, target, conversion = field.kind, field.target, field.conversion
    if kind in ("bytes", "fixed"):
        return _decode_bytes(field, out, buffer, at, left, present)
    if kind in ("enum", "boolean"):
        return _decode_choice(field, out, buffer, at)
    if kind in ("long", "int"):
        value, length, sane = _varint(buffer, at)
        if kind == "int":
            sane &= (length <= LONGEST_INT) & (np.abs(value) <= INT_MAX)
        if conversion is not None and conversion.per_ms is not None:
            sane &= (value < _FAR) & (value > -_FAR)
            value = value // conversion.per_ms - (conversion.offset_ms or 0)
        if target is not None:
            out.integer[target] = value
        return length, sane
    if kind == "string":
        return _decode_text(field, out, buffer, at, left, present)
    width = 8 if kind == "double" else 4
    if target is not None:
        # A view of the buffer with a number at every position, aligned or not.
        numbers = np.ndarray(len(buffer) - width + 1, f"<f{width}", buffer, strides=(1,))
        with np.errstate(invalid="ignore"):  # a float32 signalling NaN
            out.floating[target] = numbers[at].astype(np.float64)
    return np.full(len(at), width), np.ones(len(at), np.bool_)


def _decode_text(field: Field, out: Decoded, buffer: Bytes, at: Int, left: Int, present: Bool) -> tuple[Int, Bool]:
    size, prefix, sane = _varint(buffer, at)
    # Check the length before it is used as an address: a text must end inside its row.
    sane &= (size >= 0) & (size <= left)
    size = np.where(sane & present, size, 0)
    text = TextColumn(buffer, at + prefix, size)
    sane &= text.ascii()  # the record-by-record decoder checks the UTF-8 of other texts
    if field.target is None:
        return prefix + size, sane
    if field.conversion is None:
        out.text[field.target] = text
        return prefix + size, sane
    out.integer[field.target], is_time = _times(text, field.conversion, present & sane)
    return prefix + size, sane & is_time


def _decode_choice(field: Field, out: Decoded, buffer: Bytes, at: Int) -> tuple[Int, Bool]:
    """Decode a boolean or an enum."""
    if field.kind == "boolean":
        if field.target is not None:
            out.integer[field.target] = buffer[at].astype(np.int64)
        return np.ones(len(at), np.int64), buffer[at] <= 1
    index, length, sane = _varint(buffer, at)
    sane &= (length <= LONGEST_INT) & (index >= 0) & (index < len(field.symbols))
    index = np.where(sane, index, 0)
    if field.target is not None:
        # The record-by-record decoder says what is wrong with a symbol that the reader does not have.
        sane &= np.array(field.readable)[index]
        out.text[field.target] = TextColumn.of([symbol.encode() for symbol in field.symbols]).take(index)
    return length, sane


def _decode_bytes(field: Field, out: Decoded, buffer: Bytes, at: Int, left: Int, present: Bool) -> tuple[Int, Bool]:
    """Skip bytes, or decode decimals of up to 8 bytes, for which one division gives the nearest double."""
    size, prefix, sane = np.full(len(at), field.size), np.zeros(len(at), np.int64), np.ones(len(at), np.bool_)
    if field.kind == "bytes":
        size, prefix, sane = _varint(buffer, at)
    sane &= (size >= 0) & (size <= left)
    size = np.where(sane & present, size, 0)
    if field.target is not None and field.conversion is not None and field.conversion.scale is not None:
        digits = buffer[(at + prefix)[:, None] + np.minimum(np.arange(8), np.maximum(size - 1, 0)[:, None])]
        # The first `size` bytes as a signed number: an arithmetic shift removes the others.
        unscaled = np.ascontiguousarray(digits).view(">i8")[:, 0].astype(np.int64) >> (64 - 8 * np.clip(size, 1, 8))
        sane = sane & (size >= 1) & (size <= 8) & (unscaled <= _EXACT) & (unscaled >= -_EXACT)
        sane &= field.conversion.scale <= _EXACT_POWER
        out.floating[field.target] = unscaled / 10.0 ** min(field.conversion.scale, _EXACT_POWER)
    return prefix + size, sane


def _times(text: TextColumn, conversion: Conversion, rows: Bool) -> tuple[Int, Bool]:
    """ISO 8601 texts of these rows in ms, and which rows have a valid text."""
    ms, understood = np.zeros(len(text), np.int64), np.zeros(len(text), np.bool_)
    for row in np.flatnonzero(rows).tolist():
        with suppress(InvalidValueError):
            ms[row] = conversion(text[row])
            understood[row] = True
    return ms, understood


def _varint(buffer: Bytes, at: Int) -> tuple[Int, Int, Bool]:
    """Decode zigzag varints at these positions: values, lengths in bytes, and whether each fits in 64 bits."""
    group = buffer[at]
    if not (group >= 0x80).any():
        value = group.astype(np.int64)
        return (value >> 1) ^ -(value & 1), np.ones(len(at), np.int64), np.ones(len(at), np.bool_)
    groups = buffer[at[:, None] + np.arange(LONGEST_VARINT)]
    ends = groups < 0x80
    last = ends.argmax(axis=1)
    # The tenth byte holds one bit of the 64. Anything else is left to the record-by-record decoder.
    sane = ends.any(axis=1) & ((last < LONGEST_VARINT - 1) | (groups[:, -1] <= 1))
    inside = np.arange(LONGEST_VARINT) <= last[:, None]
    bits = np.where(inside, groups & 0x7F, 0).astype(np.uint64) << (
        np.arange(LONGEST_VARINT, dtype=np.uint64) * np.uint64(7)
    )
    raw = np.bitwise_or.reduce(bits, axis=1)
    value = (raw >> np.uint64(1)).astype(np.int64) ^ -(raw & np.uint64(1)).astype(np.int64)
    return value, last + 1, sane
