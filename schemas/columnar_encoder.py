"""Encodes columns as Avro binary: all rows of a batch at once, field by field."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from schemas.columnar_decoder import primitive
from schemas.text_column import Bytes, TextColumn


class Flags(NamedTuple):
    """A column of arrays of strings: in each row the names whose flag is set. flags: [n, names]."""

    flags: Bool
    names: tuple[str, ...]


Column = TextColumn | Flags | Int | Float | Bool | str | float
Segment = tuple[Bytes, Int | None]
"""Bytes [n, width] and how many of each row are used [n]; None: all. n is 1 if all rows are equal."""


def encode_columns(schema: Mapping[str, Any], columns: Mapping[str, Column], rows: int, prefix: bytes) -> list[bytes]:
    """Encode n rows as Avro, each after a wire-format prefix.

    Args:
        schema: a record of strings, integers, doubles, booleans and arrays of strings, none of them nullable.
        columns: a column for each field. A plain string or number applies to all rows.
        rows: n.
        prefix: prefix of the wire format.
    """
    segments = [_constant(prefix)]
    for field in schema["fields"]:
        segments += _segments(primitive(field["type"])[0], columns[field["name"]])
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


def _segments(kind: str | None, column: Column) -> list[Segment]:
    if isinstance(column, str):
        text = column.encode()
        return [_constant(zigzag(len(text)) + text)]
    if isinstance(column, Flags):
        return [_names(column)]
    if isinstance(column, TextColumn):
        return [_zigzags(column.length), (column.matrix(), column.length)]
    values = np.atleast_1d(column)
    if kind in ("long", "int"):
        return [_zigzags(values.astype(np.int64))]
    if kind == "double":
        return [(np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8), None)]
    return [(values.astype(np.uint8)[:, None], None)]


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
