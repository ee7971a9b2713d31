"""Encodes columns as Avro binary: all rows of a batch at once, field by field."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from schemas.columnar_decoder import enum_of, primitive
from schemas.resolution import expanded, named_types
from schemas.text_column import Bytes, TextColumn


class Flags(NamedTuple):
    """A column of arrays of strings: in each row the names whose flag is set. flags: [n, names]."""

    flags: Bool
    names: tuple[str, ...]


class NumberMap(NamedTuple):
    """A column of maps to numbers, with the same names in each row. values: [n, names]."""

    values: Float
    names: tuple[str, ...]


class Nullable(NamedTuple):
    """A column in which some rows are null. present: [n], or [1] if the column is one value for all rows."""

    column: TextColumn | Int | Float | Bool
    present: Bool


Value = TextColumn | Flags | NumberMap | Int | Float | Bool | str | float
Column = Value | Nullable
Segment = tuple[Bytes, Int | None]
"""Bytes [n, width] and how many of each row are used [n]; None: all. n is 1 if all rows are equal."""


def encode_columns(schema: Mapping[str, Any], columns: Mapping[str, Column], rows: int, prefix: bytes) -> list[bytes]:
    """Encode n rows as Avro, each after a wire-format prefix.

    Args:
        schema: a record of strings, enums, numbers and booleans, each possibly nullable, and of arrays of strings and
            maps to doubles.
        columns: a column for each field. A plain string or number applies to all rows.
        rows: n.
        prefix: prefix of the wire format.
    """
    segments, named = [_constant(prefix)], named_types(schema)
    for field in schema["fields"]:
        segments += _field_segments(expanded(field["type"], named), columns[field["name"]])
    width = sum(s.shape[1] for s, _ in segments)
    data, inside = np.empty((rows, width), np.uint8), np.ones((rows, width), np.bool_)
    length, at = np.full(rows, width), 0
    for segment, count in segments:
        here = slice(at, at + segment.shape[1])
        data[:, here] = segment
        if count is not None:
            inside[:, here] = np.arange(segment.shape[1]) < count[:, None]
            length -= segment.shape[1] - count
        at = here.stop
    text, ends = data[inside].tobytes(), np.cumsum(length).tolist()
    return [text[a:b] for a, b in itertools.pairwise([0, *ends])]


def _field_segments(avro_type: Any, column: Column) -> list[Segment]:
    kind, null_branch = primitive(avro_type)
    enum = enum_of(avro_type)
    if isinstance(column, Nullable):
        if null_branch is None:
            raise TypeError("a nullable column does not fit a field that is not nullable")
        branch = np.where(column.present, 1 - null_branch, null_branch)
        values = _segments(kind, enum, column.column)
        return [_zigzags(branch), *(_only(segment, column.present) for segment in values)]
    values = _segments(kind, enum, column)
    return values if null_branch is None else [_constant(zigzag(1 - null_branch)), *values]


def _only(segment: Segment, present: Bool) -> Segment:
    """The segment, with no bytes in rows that are null."""
    data, count = segment
    return data, np.where(present, data.shape[1] if count is None else count, 0)


def _segments(kind: str | None, enum: Mapping[str, Any] | None, column: Value) -> list[Segment]:
    if isinstance(column, NumberMap):
        return list(_map(column))
    if isinstance(column, Flags):
        return [_names(column)]
    if isinstance(column, str):
        text = column.encode()
        return [_constant(zigzag(len(text)) + text)]
    if isinstance(column, TextColumn):
        if enum is not None:
            return [_zigzags(_indices(column, enum["symbols"]))]
        return [_zigzags(column.length), (column.matrix(), column.length)]
    return [_numbers(kind, np.atleast_1d(column))]


def _numbers(kind: str | None, values: Int | Float | Bool) -> Segment:
    if kind in ("long", "int"):
        return _zigzags(values.astype(np.int64))
    if kind in ("double", "float"):
        width = 8 if kind == "double" else 4
        return np.ascontiguousarray(values, f"<f{width}").view(np.uint8).reshape(-1, width), None
    return values.astype(np.uint8)[:, None], None


def _indices(column: TextColumn, symbols: Sequence[str]) -> Int:
    """The index of each row's text among the symbols of an enum."""
    codes, texts = column.distinct()
    # A row that is null has any text, and is not written.
    numbers = {symbol.encode(): at for at, symbol in enumerate(symbols)}
    return np.array([numbers.get(text, 0) for text in texts], np.int64)[codes]


def _map(column: NumberMap) -> Iterator[Segment]:
    for at, name in enumerate(column.names):
        text = name.encode()
        yield _constant((zigzag(len(column.names)) if at == 0 else b"") + zigzag(len(text)) + text)
        yield np.ascontiguousarray(column.values[:, at], "<f8").view(np.uint8).reshape(-1, 8), None
    yield _constant(b"\0")


def _constant(data: bytes) -> Segment:
    return np.frombuffer(data, np.uint8)[None], None


def _zigzags(values: Int) -> Segment:
    raw = ((values << 1) ^ (values >> 63)).view(np.uint64)
    width = max(1, -(-int(raw.max(initial=1)).bit_length() // 7))
    groups, length = np.empty((len(raw), width), np.uint8), np.ones(len(raw), np.int64)
    for i in range(width):
        rest = raw >> np.uint64(7)
        more = rest != 0
        groups[:, i] = (raw & np.uint64(0x7F)) | (more.astype(np.uint64) << np.uint64(7))
        length += more
        raw = rest
    return groups, length


def zigzag(value: int) -> bytes:
    """One Avro long."""
    return _zigzags(np.array([value]))[0].tobytes()


def _names(column: Flags) -> Segment:
    # Few combinations occur, so encode each once. Packed into bytes, the flags of a row compare as one value.
    packed = np.packbits(column.flags, axis=1)
    row_value = (
        np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
        if packed.shape[1] > 8
        else (np.pad(packed, ((0, 0), (0, 8 - packed.shape[1]))).view(np.uint64)[:, 0])
    )
    _, example, which = np.unique(row_value, return_index=True, return_inverse=True)
    combinations = column.flags[example]
    encoded = []
    for flags in combinations:
        names = [n.encode() for n, flag in zip(column.names, flags, strict=True) if flag]
        block = zigzag(len(names)) + b"".join(zigzag(len(n)) + n for n in names) if names else b""
        encoded.append(block + b"\0")
    texts = TextColumn.of(encoded).take(which.reshape(-1))
    return texts.matrix(), texts.length
