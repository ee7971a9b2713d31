"""Columns of every type that an input may have: read as the record-by-record decoder reads them, and written back."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import compile_decoder, encode
from schemas.columnar_decoder import PADDING, Decoded, decode_columns, decoding_plan
from schemas.columnar_encoder import Column, Nullable, NumberMap, encode_columns
from schemas.load import Schema, parsed
from schemas.text_column import NullableText, TextColumn

PLAN = {"type": "enum", "name": "Plan", "symbols": ["free", "basic", "gold"]}
VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": ("string", st.text(st.characters(codec="ascii"), max_size=70)),
    "plan": (PLAN, st.sampled_from(PLAN["symbols"])),
    "active": ("boolean", st.booleans()),
    "small": ("int", st.integers(-(2**31) + 1, 2**31 - 1)),
    "large": ("long", st.integers(-(2**53), 2**53)),
    "single": ("float", st.floats(width=32)),
    "double": ("double", st.floats()),
}
ROWS = st.lists(st.fixed_dictionaries({n: st.none() | v for n, (_, v) in VALUES.items()}), min_size=1, max_size=6)


def record(**types: Any) -> Schema:
    return {"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in types.items()]}


NULLABLE = record(**{name: ["null", avro_type] for name, (avro_type, _) in VALUES.items()})


def read(rows: list[bytes], writer: Schema, reader: Schema | None = None) -> Decoded:
    plan = decoding_plan(writer, reader or writer, {})
    assert plan is not None
    length = np.array([len(row) for row in rows])
    buffer = np.frombuffer(b"".join((*rows, bytes(PADDING))), np.uint8)
    return decode_columns(plan, buffer, np.cumsum(length) - length, np.cumsum(length))


def column(found: Decoded, name: str) -> Any:
    present = found.present[name]
    return Nullable(found.text[name] if name in found.text else (found.integer | found.floating)[name], present)


@settings(deadline=None)
@given(ROWS)
def test_columns_are_the_records_and_are_written_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    values = [encode(row, parsed(NULLABLE), b"") for row in rows]
    found = read(values, NULLABLE)
    assert found.understood.all()
    one_by_one = [compile_decoder(NULLABLE, NULLABLE)(value, 0) for value in values]
    for name in VALUES:
        texts = name in found.text
        objects = NullableText(found.text[name], found.present[name]).objects() if texts else None
        for at, expected in enumerate(one_by_one):
            assert found.present[name][at] == (expected[name] is not None)
            if expected[name] is not None:
                value = objects[at] if objects is not None else column(found, name).column[at]
                assert value == expected[name] or (math.isnan(value) and math.isnan(expected[name]))
    columns: dict[str, Column] = {name: column(found, name) for name in VALUES}
    assert encode_columns(NULLABLE, columns, len(rows), b"") == values


@pytest.mark.parametrize("value", [b"\x06", b"\x01", b"\x80\x80\x80\x80\x80\x01"])
def test_a_symbol_that_is_none_is_left_to_the_record_by_record_decoder(value: bytes) -> None:
    assert read([b"\x02", value], record(plan=PLAN)).understood.tolist() == [True, False]


def test_a_byte_that_is_no_boolean_is_left_to_the_record_by_record_decoder() -> None:
    assert read([b"\x01", b"\x02"], record(active="boolean")).understood.tolist() == [True, False]


def test_a_symbol_that_the_reader_lacks_is_left_to_the_record_by_record_decoder() -> None:
    ours = record(plan={**PLAN, "symbols": ["gold", "free"]})
    found = read([b"\x00", b"\x02", b"\x04"], record(plan=PLAN), ours)
    assert found.understood.tolist() == [True, False, True]
    assert [found.text["plan"][0], found.text["plan"][2]] == ["free", "gold"]


def test_enums_of_other_names_are_left_to_the_record_by_record_decoder() -> None:
    assert decoding_plan(record(plan={**PLAN, "name": "Other"}), record(plan=PLAN), {}) is None


def test_a_map_of_numbers_is_written() -> None:
    schema = record(p={"type": "map", "values": "double"})
    values = encode_columns(schema, {"p": NumberMap(np.array([[0.25, 0.75], [1.0, 0.0]]), ("a", "b"))}, 2, b"")
    assert [compile_decoder(schema, schema)(value, 0) for value in values] == [
        {"p": {"a": 0.25, "b": 0.75}},
        {"p": {"a": 1.0, "b": 0.0}},
    ]


def test_distinct_texts() -> None:
    texts = [b"a", b"", b"a\0", b"a", b"x" * 100]
    for some in (texts, texts[:-1]):
        codes, distinct = TextColumn.of(some).distinct()
        assert [distinct[code] for code in codes] == some
        assert len(distinct) == len(set(some))
