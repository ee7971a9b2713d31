"""What the Avro specification forbids in a schema is told with file, line and fix."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from schemas.avro_rules import avro_faults
from schemas.load import read_record


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Reading", "fields": [{"name": "at", "type": "long"}, *fields]} | more


def enum(*symbols: Any, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Mode", "symbols": list(symbols)} | more


def field(avro: Any, **more: Any) -> dict[str, Any]:
    return {"name": "x", "type": avro} | more


INNER = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "letter that is not ASCII": (record(field("int", name="ä")), "the name of a field, 'ä', is no legal name; write"),
    "digit first": (record(field("int", name="1x")), "the name of a field, '1x', is no legal name"),
    "half a character": (record(field("int", name="\ud800")), r"'\ud800', is no legal name"),
    "no name": (record({"type": "int"}), "the name of a field, None, is no legal name"),
    "no type": (record({"name": "x"}), "field 'x': it has no type; add one"),
    "no field": (record("x"), "'x' is no field; write a name and a type"),
    "name of the record": (record(name="a b"), "the name of the record, 'a b', is no legal name"),
    "namespace": (record(namespace="a..b"), "the namespace, 'a..b', is no legal name"),
    "name within": (record(field(INNER | {"name": "2"})), "field 'x': the name of the record, '2', is no legal name"),
    "type misspelt": (record(field("duoble")), "field 'x': there is no type 'duoble'; did you mean 'double'?"),
    "no type at all": (record(field(5)), "field 'x': 5 is no type; name one"),
    "union of equals": (record(field(["null", "int", "int"])), "the union has int more than once; take one out"),
    "default of another type": (record(field("double", default="a")), "the default 'a' does not fit its type; correct"),
    "default beyond the type": (record(field("int", default=2**31)), "the default 2147483648 does not fit its type"),
    "null for a number": (record(field("int", default=None)), "the default None does not fit its type"),
    "default of no branch": (record(field(["null", "int"], default="a")), "the default 'a' does not fit its type"),
    "default of an enum": (record(field(enum("on"), default="off")), "the default 'off' does not fit its type"),
    "default of items": (record(field({"type": "array", "items": "int"}, default=["a"])), "does not fit its type"),
    "default of a record": (record(field(INNER, default={"a": "b"})), "does not fit its type"),
    "default of a fixed": (record(field({"type": "fixed", "name": "F", "size": 2}, default="a")), "does not fit"),
    "symbols twice": (record(field(enum("on", "on"))), "enum 'Mode': the symbol 'on' is given twice; take one"),
    "illegal symbol": (record(field(enum("on off"))), "enum 'Mode': the symbol 'on off' is no legal name"),
    "no symbols": (record(field(enum())), "enum 'Mode': it has no list of symbols; add it"),
    "default symbol": (record(field(enum("on", default="off"))), "the default 'off' is none of its symbols; correct"),
    "size": (record(field({"type": "fixed", "name": "F", "size": -1})), "the size of 'F' must be a number of bytes"),
    "alias twice": (record(field("int", aliases=["y", "y"])), "the alias 'y' is given already; take one of them out"),
    "illegal alias": (record(field("int", aliases=["a b"])), "the alias 'a b' is no legal name"),
}
RIGHT = (
    record(field(["null", "double"], default=None), namespace="org.example"),
    record(field(["double", "null"], default=None)),  # since Avro 1.12, a default fits any branch
    record(field(enum("on", "off", default="on"), default="off", aliases=["y"])),
    record(
        field({"type": "map", "values": INNER}, default={"k": {"a": 1}}), field("Inner", name="y", default={"a": 2})
    ),
    record(field({"type": "bytes", "logicalType": "decimal", "precision": 4}, default="\u00ff")),
    record(field({"type": "long", "logicalType": "timestamp-millis"}, default=0), field("float", name="y", default=1)),
    record(field(["null", "Reading"], default=None)),
)


def told(folder: Path, schema: dict[str, Any]) -> str:
    file = folder / "Reading.avsc"
    file.write_text(json.dumps(schema, indent=1))
    with pytest.raises(UserError) as refused:
        read_record(file)
    return str(refused.value)


@pytest.mark.parametrize("case", WRONG)
def test_what_avro_forbids_is_told_with_place_and_fix(tmp_path: Path, case: str) -> None:
    schema, said = WRONG[case]
    text = told(tmp_path, schema)
    assert said in text
    assert text.startswith(f"{tmp_path / 'Reading.avsc'}:")
    assert "; " in text
    assert text.isprintable()


def test_the_line_is_that_of_the_fault(tmp_path: Path) -> None:
    text = told(tmp_path, record(field("double", default="a")))
    lines = (tmp_path / "Reading.avsc").read_text().split("\n")
    assert '"default": "a"' in lines[int(text.split(":")[1]) - 1]


def test_a_property_given_twice_is_told(tmp_path: Path) -> None:
    file = tmp_path / "Reading.avsc"
    file.write_text(json.dumps(record(field("int"))).replace('"name": "x"', '"name": "x", "name": "y"'))
    with pytest.raises(UserError, match="property 'name' of 'y' is given twice; take one of them out"):
        read_record(file)


@pytest.mark.parametrize("schema", RIGHT)
def test_what_avro_allows_is_read(tmp_path: Path, schema: dict[str, Any]) -> None:
    assert list(avro_faults(schema)) == []
    (tmp_path / "Reading.avsc").write_text(json.dumps(schema))
    assert read_record(tmp_path / "Reading.avsc") == schema


NAMES = st.sampled_from(["record", "enum", "fixed", "array", "map", "int", "null", "x", "Reading", "", "ä"])
KEYS = st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "default", "size", "aliases"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(JSON, JSON)
def test_no_schema_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, avro: Any, default: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "Any.avsc"
    file.write_text(json.dumps(record(field(avro, default=default))))
    with suppress(UserError):
        read_record(file)
