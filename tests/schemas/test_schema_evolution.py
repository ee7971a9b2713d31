"""Devices that publish with another schema than ours, older or newer, resolved by Avro's rules."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode, encode
from schemas.errors import IncompatibleSchemaError, MalformedError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.wire import confluent_prefix
from tests.flagship import flagship_schema

READING = flagship_schema("SensorReading")
SENSORS = [field["name"] for field in READING["fields"] if "default" in field]
RENAMED = [field for field in READING["fields"] if "aliases" in field]
A_READING: dict[str, Any] = {
    "module_id": "RackA1_Module01",
    "rack_id": "RackA1",
    "ts": 1_700_000_000_123,
    **{name: 20 + i if name.endswith("_index") else 20.5 + i for i, name in enumerate(SENSORS)},
    "voltage_v": None,
}


def record_schema(*fields: tuple[str, Any], name: str = "SensorReading") -> Schema:
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


IDENTITY = (("module_id", "string"), ("rack_id", "string"), ("ts", "long"))
WHO = {"module_id": "M1", "rack_id": "R1", "ts": 5}


def written_by(writer: Schema, record: dict[str, Any]) -> dict[str, Any]:
    """What the worker reads of a record that a device with another schema wrote."""
    return decode(encode(record, writer, confluent_prefix(1)), lambda _: writer, READING)


@pytest.mark.parametrize("which", [0, -1], ids=["first alias", "last alias"])
def test_a_writer_with_the_older_column_names_is_understood(which: int) -> None:
    older = {field["name"]: field["aliases"][which] for field in RENAMED}
    writer = record_schema(*((older[field["name"]], field["type"]) for field in RENAMED))
    later = dict.fromkeys(A_READING.keys() - older.keys())
    assert written_by(writer, {name: A_READING[ours] for ours, name in older.items()}) == A_READING | later


def test_a_field_of_todays_name_wins_over_an_alias_and_the_other_is_ignored() -> None:
    writer = record_schema(("Module_ID", "string"), *IDENTITY, ("Module_Voltage_V", "double"), ("Timestamp", "string"))
    record = {**WHO, "Module_ID": "old", "Module_Voltage_V": 51.5, "Timestamp": "noon"}
    assert written_by(writer, record) == {**dict.fromkeys(SENSORS), **WHO, "voltage_v": 51.5}


def test_of_two_aliases_the_first_wins() -> None:
    writer = record_schema(("Module_Id", "string"), ("Module_ID", "string"), *IDENTITY[1:])
    record = {"Module_Id": "second", "Module_ID": "first", "rack_id": "R1", "ts": 5}
    assert written_by(writer, record)["module_id"] == "first"


def test_missing_sensors_are_null() -> None:
    assert written_by(record_schema(*IDENTITY), WHO) == {**dict.fromkeys(SENSORS), **WHO}


@pytest.mark.parametrize("kind", ["int", "long", "float", ["null", "int"], ["float", "null"], ["int", "string"]])
def test_numbers_are_promoted_to_double(kind: Any) -> None:
    reading = written_by(record_schema(*IDENTITY, ("soc_percent", kind)), {**WHO, "soc_percent": 80})
    assert reading["soc_percent"] == 80.0
    assert type(reading["soc_percent"]) is float


def test_bytes_become_a_string_if_they_are_one() -> None:
    writer = record_schema(("module_id", "bytes"), *IDENTITY[1:])
    assert written_by(writer, {**WHO, "module_id": "Zürich".encode()})["module_id"] == "Zürich"
    with pytest.raises(MalformedError, match="not UTF-8"):
        written_by(writer, {**WHO, "module_id": b"\xff"})


def test_an_int_time_is_a_long_time() -> None:
    writer = record_schema(*IDENTITY[:2], ("ts", "int"))
    assert written_by(writer, WHO)["ts"] == 5


def test_a_default_of_the_wrong_type_in_the_writers_schema_does_no_harm() -> None:
    writer = record_schema(*IDENTITY)
    writer["fields"].append({"name": "voltage_v", "type": "double", "default": None})
    assert decode(b"\x00\0\0\0\1" + b"\x04M1\x04R1\x0a" + bytes(8), lambda _: writer, READING)["voltage_v"] == 0.0


def test_it_makes_no_difference_whether_a_schema_was_parsed_before() -> None:
    time = {"type": "record", "name": "Time", "fields": [{"name": "at", "type": READING["fields"][2]["type"]}]}
    schema = record_schema(("first", time), ("second", "Time"))
    record = {"first": {"at": 1}, "second": {"at": 2}}
    assert decode(encode(record, schema, confluent_prefix(1)), lambda _: parsed(schema), parsed(schema)) == record


def test_the_namespace_of_the_writer_does_not_matter() -> None:
    writer = {**record_schema(*IDENTITY), "namespace": "com.example.devices"}
    assert written_by(writer, WHO) == {**dict.fromkeys(SENSORS), **WHO}


def test_a_record_may_be_known_by_an_older_name() -> None:
    reader = {**READING, "aliases": ["com.example.BatteryRow"]}
    writer = record_schema(*IDENTITY, name="BatteryRow")
    assert decode(encode(WHO, writer, confluent_prefix(1)), lambda _: writer, reader)["module_id"] == "M1"


def test_the_order_of_fields_is_the_writers_business() -> None:
    writer = record_schema(*((field["name"], field["type"]) for field in reversed(READING["fields"])))
    assert written_by(writer, A_READING) == A_READING


def test_fields_of_every_type_that_nobody_asked_for_are_skipped() -> None:
    extras: dict[str, tuple[Any, Any]] = {
        "x_bool": ("boolean", True),
        "x_bytes": ("bytes", b"\xff\x00"),
        "x_enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
        "x_again": ("E", "A"),
        "x_fixed": ({"type": "fixed", "name": "F", "size": 4}, b"abcd"),
        "x_array": ({"type": "array", "items": ["null", "string"]}, ["a", None]),
        "x_map": ({"type": "map", "values": {"type": "array", "items": "int"}}, {"k": [1, 2]}),
        "x_record": ({"type": "record", "name": "N", "fields": [{"name": "deep", "type": "E"}]}, {"deep": "A"}),
        "x_date": ({"type": "int", "logicalType": "date"}, 19_000),
        "x_decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x01\x02"),
    }
    fields = [(name, kind) for name, (kind, _) in extras.items()]
    writer = record_schema(*fields[:5], *IDENTITY, *fields[5:])
    record = {**WHO, **{name: value for name, (_, value) in extras.items()}}
    assert written_by(writer, record) == {**dict.fromkeys(SENSORS), **WHO}


M_R_5 = b"\x02M\x02R\x0a"


@pytest.mark.parametrize(
    ("writer", "body", "words"),
    [
        (record_schema(*IDENTITY[1:]), b"\x02R\x0a", "no field 'module_id'"),
        (record_schema(*IDENTITY[:2], ("ts", "double")), b"\x02M\x02R" + bytes(8), "double"),
        (
            record_schema(*IDENTITY[:2], ("ts", {"type": "long", "logicalType": "time-micros"})),
            M_R_5,
            "'ts' is time-micros, but the reader expects timestamp-millis",
        ),
        (record_schema(*IDENTITY, ("voltage_v", "string")), M_R_5 + b"\x02x", "string"),
        (record_schema(*IDENTITY, name="ShipPosition"), M_R_5, "is ShipPosition, but the reader expects SensorReading"),
        (record_schema(*IDENTITY, ("more", ["null", "SensorReading"])), M_R_5 + b"\x00", "recursive"),
        (record_schema(*IDENTITY, ("more", "no.such.Type")), M_R_5, "not valid Avro"),
        ({"type": "record", "name": "SensorReading"}, M_R_5, "not valid Avro"),
        ({"type": "enum", "name": "SensorReading", "symbols": ["A"]}, b"\x00", "not a record"),
    ],
)
def test_a_writer_that_cannot_be_resolved_is_incompatible(writer: Schema, body: bytes, words: str) -> None:
    with pytest.raises(IncompatibleSchemaError, match=words) as caught:
        decode(confluent_prefix(1) + body, lambda _: writer, READING)
    assert len(str(caught.value)) < 500, "too long for a header"


def test_a_null_for_what_cannot_be_null_is_incompatible_and_its_neighbours_are_read() -> None:
    writer = record_schema(("module_id", ["null", "string"]), *IDENTITY[1:])
    assert written_by(writer, WHO)["module_id"] == "M1"
    with pytest.raises(IncompatibleSchemaError):
        written_by(writer, {**WHO, "module_id": None})


EVERY_TYPE = record_schema(
    *IDENTITY,
    ("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}),
    ("f", {"type": "fixed", "name": "F", "size": 4}),
    ("a", {"type": "array", "items": ["null", "E"]}),
    ("m", {"type": "map", "values": "double"}),
    ("r", {"type": "record", "name": "N", "fields": [{"name": "deep", "type": "boolean"}]}),
    ("voltage_v", ["null", {"type": "float", "logicalType": "odd"}]),
)
EVERY_VALUE = {**WHO, "e": "B", "f": b"abcd", "a": [None, "A"], "m": {"k": 1.5}, "r": {"deep": True}, "voltage_v": 1.0}


def paths(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [here, *(path for key, part in parts for path in paths(part, (*here, key)))]


json_values = st.recursive(
    st.none()
    | st.integers(-3, 5)
    | st.sampled_from(["", "null", "string", "record", "array", "E", "N", "SensorReading", "timestamp-millis"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "name", "items", "fields", "size", "symbols"]), inner, max_size=4)
    ),
    max_leaves=5,
)


@pytest.mark.slow  # thousands of damaged schemas
@given(path=st.sampled_from(paths(EVERY_TYPE)[1:]), junk=json_values)
@settings(max_examples=1000)
def test_a_damaged_schema_gives_declared_errors_only(path: tuple[Any, ...], junk: Any) -> None:
    writer = copy.deepcopy(EVERY_TYPE)
    parent: Any = writer
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    value = encode(EVERY_VALUE, EVERY_TYPE, confluent_prefix(1))
    with contextlib.suppress(UnreadableValueError):
        assert len(decode(value, lambda _: writer, READING)) == len(READING["fields"])
