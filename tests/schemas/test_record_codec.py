"""Records through both wire formats, and every kind of damage."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import compile_decoder, decode, encode
from schemas.errors import IncompatibleSchemaError, MalformedError, UnknownSchemaError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import ConfluentId, SchemaKey, confluent_prefix, single_object_prefix
from tests.flagship import KNOWN_SCHEMAS, flagship_schema

READING = flagship_schema("SensorReading")
SENSORS = [field["name"] for field in READING["fields"] if "default" in field]
WHOLE = st.integers(-(2**63), 2**63 - 1)
PREFIXES = {"confluent": confluent_prefix(7), "single object": single_object_prefix(READING)}

readings = st.fixed_dictionaries(
    {
        "module_id": st.text(max_size=30),
        "rack_id": st.text(max_size=30),
        "ts": WHOLE,
        **{name: st.none() | (WHOLE if name.endswith("_index") else st.floats(allow_nan=False)) for name in SENSORS},
    }
)
A_READING: dict[str, Any] = {
    "module_id": "RackA1_Module01",
    "rack_id": "RackA1",
    "ts": 1_700_000_000_123,
    **{name: 20 + i if name.endswith("_index") else 20.5 + i for i, name in enumerate(SENSORS)},
    "voltage_v": None,
}


def only_reading(key: SchemaKey) -> Schema:
    """A registry that holds SensorReading as id 7, and the schemas of this package by fingerprint."""
    return READING if key == ConfluentId(7) else writer_schema_lookup(None, KNOWN_SCHEMAS)(key)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@given(reading=readings)
def test_a_reading_comes_back_as_it_was(prefix: bytes, reading: dict[str, Any]) -> None:
    assert decode(encode(reading, parsed(READING), prefix), only_reading, READING) == reading


@pytest.mark.parametrize("name", ["HazardPrediction", "HazardAlarm", "HazardState"])
@given(data=st.data())
def test_every_record_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    schema = flagship_schema(name)
    record = data.draw(values_of(schema))
    assert decode(encode(record, schema, single_object_prefix(schema)), only_reading, schema) == record


def values_of(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of(*map(values_of, schema))
    if isinstance(schema, dict) and schema["type"] == "record":
        return st.fixed_dictionaries({field["name"]: values_of(field["type"]) for field in schema["fields"]})
    if isinstance(schema, dict) and schema["type"] == "array":
        return st.lists(values_of(schema["items"]), max_size=3)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False),
        "string": st.text(max_size=10),
    }[schema["type"] if isinstance(schema, dict) else schema]


def test_the_bytes_are_those_of_the_avro_specification() -> None:
    fields = [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]
    schema = {"type": "record", "name": "test", "fields": fields}
    # The record example of the specification: 27 and "foo" are 36 06 66 6f 6f.
    assert encode({"a": 27, "b": "foo"}, schema, b"") == bytes.fromhex("36 06 66 6f 6f")


def test_timestamps_are_numbers_and_not_datetimes() -> None:
    reading = decode(encode(A_READING, READING, PREFIXES["confluent"]), only_reading, READING)
    assert type(reading["ts"]) is int


def test_not_a_number_and_infinity_travel() -> None:
    record = {**A_READING, "voltage_v": float("nan"), "current_a": float("-inf")}
    reading = decode(encode(record, READING, PREFIXES["confluent"]), only_reading, READING)
    assert reading["voltage_v"] != reading["voltage_v"]  # the test for NaN
    assert reading["current_a"] == float("-inf")


@pytest.mark.parametrize(
    "wrong",
    [{"extra": 1}, {"ts": None}, {"ts": 2**70}, {"ts": "2024"}, {"module_id": 5}, {"voltage_v": "high"}],
    ids=str,
)
def test_a_record_that_does_not_fit_is_not_encoded(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        encode({**A_READING, **wrong}, READING, b"")


def test_a_record_without_its_identity_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="module_id"):
        encode({"rack_id": "R1", "ts": 1}, READING, b"")


# Damage.


def test_a_fingerprint_nobody_knows_is_an_unknown_schema() -> None:
    value = b"\xc3\x01" + b"\x11" * 8 + b"\x00"
    with pytest.raises(UnknownSchemaError, match="1111111111111111"):
        decode(value, only_reading, READING)


def test_a_registry_id_without_a_registry_is_an_unknown_schema() -> None:
    with pytest.raises(UnknownSchemaError, match="SCHEMA_REGISTRY_URL"):
        decode(encode(A_READING, READING, confluent_prefix(8)), only_reading, READING)


def test_a_record_of_another_kind_is_incompatible() -> None:
    state = flagship_schema("HazardState")
    record = {
        **dict.fromkeys(("module_id", "rack_id", "state", "priority", "alarm_id", "model_version"), "x"),
        "ts": 1,
        "hazard_probability": 0.5,
        "peak_probability": 0.5,
    }
    with pytest.raises(IncompatibleSchemaError):
        decode(encode(record, state, single_object_prefix(state)), only_reading, READING)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_value_cut_off_anywhere_is_malformed(prefix: bytes) -> None:
    value = encode(A_READING, READING, prefix)
    for end in range(len(value)):
        with pytest.raises(MalformedError):
            decode(value[:end], only_reading, READING)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@given(extra=st.binary(min_size=1, max_size=10))
def test_a_value_with_more_after_it_is_malformed(prefix: bytes, extra: bytes) -> None:
    with pytest.raises(MalformedError, match="follow the record"):
        decode(encode(A_READING, READING, prefix) + extra, only_reading, READING)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_flipped_bit_gives_another_reading_or_a_declared_error(prefix: bytes) -> None:
    value = encode(A_READING, READING, prefix)
    for bit in range(8 * len(value)):
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << (bit % 8)
        try:
            reading = decode(bytes(damaged), only_reading, READING)
        except UnreadableValueError:
            pass
        else:
            # What is accepted says something else, and holds no byte that was not understood.
            assert encode(reading, READING, prefix) == damaged


@given(body=st.binary(max_size=120))
@settings(max_examples=500)
def test_random_bodies_give_a_reading_or_a_declared_error(body: bytes) -> None:
    for name in ("SensorReading", "HazardAlarm"):
        schema = flagship_schema(name)
        try:
            record = decode(single_object_prefix(schema) + body, only_reading, schema)
        except UnreadableValueError:
            continue
        assert set(record) == {field["name"] for field in schema["fields"]}


@given(value=st.binary(max_size=120))
@settings(max_examples=500)
def test_random_values_give_a_reading_or_a_declared_error(value: bytes) -> None:
    with contextlib.suppress(UnreadableValueError):
        assert set(decode(value, only_reading, READING)) == set(A_READING)


def test_each_kind_of_error_has_the_reason_code_of_its_dead_letter() -> None:
    reasons = [kind.reason for kind in (MalformedError, UnknownSchemaError, IncompatibleSchemaError)]
    assert reasons == ["malformed", "unknown_schema", "incompatible_schema"]


def test_a_megabyte_of_anything_is_refused_quickly() -> None:
    schema = flagship_schema("HazardPrediction")
    started = time.perf_counter()
    for filler in (b"\x00", b"\x01", b"\x02", b"\x7f", b"\xff"):
        with pytest.raises(MalformedError):
            decode(single_object_prefix(schema) + filler * 2**20, only_reading, schema)
    assert time.perf_counter() - started < 5


def test_a_huge_array_count_is_refused_without_allocating() -> None:
    fields = [{"name": "masked", "type": {"type": "array", "items": "string"}}]
    schema = {"type": "record", "name": "test", "fields": fields}
    count = b"\x80" * 8 + b"\x20"  # 2**60
    with pytest.raises(MalformedError, match="masked: byte 0 announces 1152921504606846976 items"):
        compile_decoder(schema, schema)(count + b"\x00" * 50, 0)
