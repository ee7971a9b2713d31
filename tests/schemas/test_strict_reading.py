"""What counts as exactly one value: hand-made bytes against the rules of Avro's binary encoding."""

import time
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import IncompatibleSchemaError, MalformedError
from schemas.load import parsed
from schemas.strict import compile_check

ENUM = {"type": "enum", "name": "Mode", "symbols": ["IDLE", "CHARGE"]}
FIXED = {"type": "fixed", "name": "Serial", "size": 3}
STRINGS = {"type": "array", "items": "string"}


def check(schema: Any, value: bytes) -> None:
    compile_check(parsed(schema))(value, 0)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("null", b""),
        ("boolean", b"\x01"),
        ("int", b"\xff\xff\xff\xff\x0f"),  # -2**31
        ("int", b"\x80\x00"),  # 0, longer than need be: allowed
        ("long", b"\xff" * 9 + b"\x01"),  # -2**63
        ("float", bytes(4)),
        ("double", bytes(8)),
        ("bytes", b"\x04\xff\xfe"),
        ("string", "\x04é".encode()),
        (FIXED, b"abc"),
        (ENUM, b"\x02"),
        (["null", "int"], b"\x02\x0e"),
        (STRINGS, b"\x00"),
        (STRINGS, b"\x02\x02a\x02\x02b\x00"),  # two blocks of one
        (STRINGS, b"\x03\x08\x02a\x02b\x00"),  # a block of two that announces its 4 bytes
        ({"type": "map", "values": "int"}, b"\x02\x02k\x02\x00"),
    ],
)
def test_a_well_formed_value_is_accepted(schema: Any, value: bytes) -> None:
    check(schema, value)


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ("null", b"\x00", "1 bytes follow"),
        ("boolean", b"", "ends at byte 0"),
        ("boolean", b"\x02", "boolean"),
        ("int", b"", "ends inside the number"),
        ("int", b"\xff", "ends inside the number"),
        ("int", b"\x80\x80\x80\x80\x10", "32 bits"),
        ("int", b"\x80\x80\x80\x80\x80\x01", "longer than 5"),
        ("long", b"\x80" * 9 + b"\x02", "64 bits"),
        ("long", b"\x80" * 10 + b"\x01", "longer than 10"),
        ("float", bytes(3), "inside the float"),
        ("double", bytes(7), "inside the double"),
        ("bytes", b"\x06ab", "announces 3 bytes, where 2 are left"),
        ("bytes", b"\x01", "announces -1 bytes"),
        ("string", b"\x02\xff", "not UTF-8"),
        ("string", b"\x06\xed\xa0\x80", "not UTF-8"),  # half of a surrogate pair
        (FIXED, b"ab", "inside the Serial"),
        (ENUM, b"\x04", "symbol 2 of an enum of 2"),
        (ENUM, b"\x01", "symbol -1"),
        (["null", "int"], b"\x04", "branch 2 of a union of 2"),
        (["null", "int"], b"\x01", "branch -1"),
        (STRINGS, b"\x02\x02a", "ends inside the number"),
        (STRINGS, b"\x03\x06\x02a\x02b\x00", "size it announces"),
        (STRINGS, b"\x08\x02a\x00", "announces 4 items, where 3 bytes"),
        ({"type": "map", "values": "int"}, b"\x02\x02\xff\x02\x00", "not UTF-8"),
    ],
)
def test_a_value_that_breaks_the_rules_is_malformed(schema: Any, value: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        check(schema, value)


@pytest.mark.parametrize("schema", ["bytes", "string", STRINGS, {"type": "map", "values": "string"}])
@pytest.mark.parametrize("count", [2**60, -(2**60)])
def test_a_huge_announced_length_is_refused_at_once(schema: Any, count: int) -> None:
    announced = BytesIO()
    schemaless_writer(announced, "long", count)
    started = time.perf_counter()
    with pytest.raises(MalformedError):
        check(schema, announced.getvalue() + b"\x02" * 100)
    assert time.perf_counter() - started < 0.1


def test_the_words_name_the_field() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "first", "type": "int"},
            {"name": "inner", "type": {"type": "record", "name": "I", "fields": [{"name": "flag", "type": "boolean"}]}},
        ],
    }
    with pytest.raises(MalformedError, match="inner: flag: byte 1 should be a boolean"):
        check(schema, b"\x00\x07")


def test_a_type_named_before_is_used_by_name() -> None:
    fields = [{"name": "a", "type": ENUM}, {"name": "b", "type": ["null", "Mode"]}]
    schema = {"type": "record", "name": "R", "namespace": "x", "fields": fields}
    check(schema, b"\x00\x02\x02")
    with pytest.raises(MalformedError, match="b: byte 2 picks symbol 3"):
        check(schema, b"\x00\x02\x06")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]},
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
    ],
)
def test_schemas_that_let_few_bytes_cost_much_are_refused(schema: Any) -> None:
    with pytest.raises(IncompatibleSchemaError):
        compile_check(parsed(schema))


values = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bytes": st.binary(max_size=20),
    "string": st.text(max_size=20),
}


def with_value(inner: Any) -> Any:
    """From pairs of a schema and a strategy of its values, pairs of one level more."""
    return st.one_of(
        inner.map(lambda pair: ({"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=4))),
        inner.map(
            lambda pair: ({"type": "map", "values": pair[0]}, st.dictionaries(st.text(max_size=5), pair[1], max_size=4))
        ),
    )


@given(st.recursive(st.sampled_from(list(values.items())), with_value, max_leaves=4), st.data())
def test_whatever_fastavro_writes_is_accepted_and_no_part_of_it_is(pair: tuple[Any, Any], data: Any) -> None:
    schema, strategy = pair
    out = BytesIO()
    schemaless_writer(out, schema, data.draw(strategy))
    value = out.getvalue()
    check(schema, value)
    for end in range(len(value)):
        with pytest.raises(MalformedError):
            check(schema, value[:end])
    with pytest.raises(MalformedError):
        check(schema, value + b"\x00")
