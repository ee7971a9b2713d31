"""Times of other units and forms, decimals, and top-level unions: what is read, exactly, and what is refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import compile_decoder, decode, decode_fields, encode
from schemas.conversions import iso_to_ms
from schemas.errors import IncompatibleSchemaError, InvalidValueError, MalformedError, NullValueError
from schemas.load import Schema, parsed
from schemas.resolution import without
from schemas.wire import confluent_prefix
from tests.flagship import flagship_schema

READING = flagship_schema("SensorReading")
SENSORS = [f["name"] for f in READING["fields"][3:] if "double" in f["type"]]
NAMES: list[tuple[str, Any]] = [("module_id", "string"), ("rack_id", "string")]
TWO_HOURS = 2 * 3_600_000


def record_schema(*fields: tuple[str, Any], name: str = "SensorReading") -> Schema:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def written_by(writer: Any, record: Any, utc_offset_ms: int | None = None) -> dict[str, Any]:
    """The reading of a record whose logical types are given raw."""
    raw = without(writer["type"] if isinstance(writer.get("type"), list) else writer, "logicalType")
    return decode(encode(record, parsed(raw), confluent_prefix(1)), lambda _: writer, READING, (), utc_offset_ms)


def time_of(avro_type: Any, value: Any, utc_offset_ms: int | None = None) -> Any:
    writer = record_schema(*NAMES, ("Timestamp", avro_type))
    return written_by(writer, {"module_id": "M", "rack_id": "R", "Timestamp": value}, utc_offset_ms)["ts"]


def voltage_of(avro_type: Any, value: Any) -> Any:
    writer = record_schema(*NAMES, ("ts", "long"), ("Module_Voltage_V", avro_type))
    return written_by(writer, {"module_id": "M", "rack_id": "R", "ts": 5, "Module_Voltage_V": value})["voltage_v"]


def logical(name: str, plain: str = "long", **more: Any) -> dict[str, Any]:
    return {"type": plain, "logicalType": name, **more}


@pytest.mark.parametrize(
    ("avro_type", "value", "expected"),
    [
        (logical("timestamp-millis"), 1_780_000_000_123, 1_780_000_000_123),
        (logical("timestamp-micros"), 1_780_000_000_123_999, 1_780_000_000_123),
        (logical("timestamp-nanos"), 1_780_000_000_123_999_999, 1_780_000_000_123),
        (logical("timestamp-micros"), -1, -1),  # down, not towards zero
        ([logical("timestamp-micros"), "null"], 5_000, 5),
        ([logical("timestamp-micros"), "string"], 5_000, 5),
        ([logical("timestamp-micros"), "string"], "1970-01-01T00:00:00.005Z", 5),
        ("string", "2026-05-28T20:26:40Z", 1_780_000_000_000),
        ("string", "2026-05-28T22:26:40.1239+02:00", 1_780_000_000_123),
        ("string", "2026-05-28 20:26:40,5-00:00", 1_780_000_000_500),
        ("string", "2026-05-28T20:26Z", 1_779_999_960_000),
    ],
)
def test_a_time_of_any_unit_becomes_milliseconds(avro_type: Any, value: Any, expected: int) -> None:
    assert time_of(avro_type, value) == expected


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000])
def test_a_local_time_is_read_only_where_its_offset_is_given(unit: int) -> None:
    avro_type = logical(
        {1: "local-timestamp-millis", 1_000: "local-timestamp-micros"}.get(unit, "local-timestamp-nanos")
    )
    assert time_of(avro_type, (TWO_HOURS + 5) * unit, TWO_HOURS) == 5
    with pytest.raises(IncompatibleSchemaError, match=r"input\.utc_offset"):
        time_of(avro_type, 5)


def test_a_text_without_offset_is_read_only_where_its_offset_is_given() -> None:
    assert time_of("string", "1970-01-01T02:00:00", TWO_HOURS) == 0
    assert time_of("string", "1970-01-01T02:00:00Z", TWO_HOURS) == TWO_HOURS
    with pytest.raises(InvalidValueError, match=r"input\.utc_offset"):
        time_of("string", "1970-01-01T02:00:00")


@pytest.mark.parametrize(
    "text",
    ["", "x", "2026-05-28", "1780000000", "2026-02-30T00:00:00Z", "2026-05-28T25:00Z", "2026-05-28T20:26:40Z\n",
     "\uff12026-05-28T20:26:40Z", "2026-05-28T20:26:40+99:00"],
)  # fmt: skip
def test_a_text_that_is_no_time_is_invalid(text: str) -> None:
    with pytest.raises(InvalidValueError):
        time_of("string", text)


@pytest.mark.parametrize("name", ["date", "time-millis", "duration"])
def test_what_is_no_moment_is_no_time(name: str) -> None:
    with pytest.raises(IncompatibleSchemaError, match=f"'ts' is {name}"):
        time_of(logical(name, "int"), 5)


def test_a_local_time_at_the_end_of_all_times_is_invalid() -> None:
    with pytest.raises(InvalidValueError):
        time_of(logical("local-timestamp-millis"), -(2**63), TWO_HOURS)


@given(st.integers(-(10**13), 10**13), st.sampled_from(["Z", "+02:00", "-05:30"]))
def test_a_time_written_as_text_comes_back(ms: int, zone: str) -> None:
    from datetime import datetime, timedelta  # noqa: PLC0415 - what the conversion is checked against

    moment = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(milliseconds=ms)
    offset = datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo
    assert iso_to_ms(moment.astimezone(offset).isoformat(timespec="microseconds"), None) == ms


@pytest.mark.parametrize("digits", ["51.5", "-0.01", "0", "3.141592653589793238462643", "-99999999.99999999"])
@pytest.mark.parametrize("kind", ["bytes", "fixed"])
@pytest.mark.parametrize("nullable", [True, False])
def test_a_decimal_becomes_the_nearest_double(digits: str, kind: str, nullable: bool) -> None:
    number = Decimal(digits)
    scale = max(-int(number.as_tuple().exponent), 0)
    unscaled = int(number.scaleb(scale))
    decimal = {"type": kind, "logicalType": "decimal", "precision": 38, "scale": scale}
    size = 16 if kind == "fixed" else unscaled.bit_length() // 8 + 1
    decimal |= {"name": "x.Decimal", "size": 16} if kind == "fixed" else {}
    avro_type = ["null", decimal] if nullable else decimal
    assert voltage_of(avro_type, unscaled.to_bytes(size, signed=True)) == float(number)
    if nullable:
        assert voltage_of(avro_type, None) is None


def test_one_fixed_decimal_may_be_the_type_of_several_fields() -> None:
    decimal = {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 1}
    writer = record_schema(*NAMES, ("ts", "long"), ("voltage_v", decimal), ("current_a", ["null", "D"]), ("more", "D"))
    one = (10).to_bytes(4)
    record = {"module_id": "M", "rack_id": "R", "ts": 5, "voltage_v": one, "current_a": one, "more": one}
    found = written_by(writer, record)
    assert (found["voltage_v"], found["current_a"]) == (1.0, 1.0)


def test_a_decimal_beyond_all_doubles_is_infinite_and_one_of_no_bytes_malformed() -> None:
    decimal = logical("decimal", "bytes", precision=400, scale=0)
    assert voltage_of(decimal, (10**399).to_bytes(200, signed=True)) == float("inf")
    with pytest.raises(MalformedError):
        voltage_of(decimal, b"")


@pytest.mark.parametrize("declared", [{"precision": 4, "scale": 5}, {"precision": 10**9, "scale": 10**9}, {}])
def test_a_decimal_without_sense_is_refused(declared: dict[str, int]) -> None:
    with pytest.raises(IncompatibleSchemaError, match="decimal of precision"):
        compile_decoder(
            record_schema(*NAMES, ("ts", "long"), ("voltage_v", logical("decimal", "bytes", **declared))), READING
        )


def test_a_decimal_is_no_text() -> None:
    decimal = logical("decimal", "bytes", precision=4, scale=2)
    with pytest.raises(IncompatibleSchemaError, match="'module_id' is a decimal"):
        compile_decoder(record_schema(("module_id", decimal), NAMES[1], ("ts", "long")), READING)


def test_a_union_in_which_a_number_has_two_meanings_is_refused() -> None:
    with pytest.raises(IncompatibleSchemaError, match="more than one meaning"):
        compile_decoder(record_schema(*NAMES, ("ts", ["int", logical("timestamp-micros")])), READING)


PLAIN = record_schema(*NAMES, ("ts", "long"))
RECORD = {"module_id": "M", "rack_id": "R", "ts": 5}


@pytest.mark.parametrize("branches", [["null", PLAIN], [PLAIN, "null"], [record_schema(("x", "int"), name="O"), PLAIN]])
def test_a_record_in_a_top_level_union_is_read(branches: list[Any]) -> None:
    assert written_by({"type": branches}, RECORD) == RECORD | dict.fromkeys(f["name"] for f in READING["fields"][3:])


def test_a_null_of_a_top_level_union_is_a_null_value() -> None:
    with pytest.raises(NullValueError, match="null of the writer's top-level union") as caught:
        written_by({"type": ["null", PLAIN]}, None)
    assert caught.value.reason == "null_value"


def test_another_record_of_a_top_level_union_is_incompatible() -> None:
    other = record_schema(("x", "int"), name="Other")
    with pytest.raises(IncompatibleSchemaError, match="record is Other"):
        written_by({"type": [other, PLAIN]}, {"x": 5})
    with pytest.raises(IncompatibleSchemaError, match="no branch of the writer's union can be read"):
        compile_decoder({"type": ["null", other]}, READING)


def test_a_branch_may_use_a_type_that_an_earlier_one_defines() -> None:
    place = {"type": "record", "name": "Place", "fields": [{"name": "row", "type": "int"}]}
    writer = {
        "type": [record_schema(("p", place), name="Other"), record_schema(*NAMES, ("ts", "long"), ("p", "Place"))]
    }
    assert written_by(writer, RECORD | {"p": {"row": 1}})["module_id"] == "M"


@pytest.mark.parametrize(
    ("value", "words"), [(b"\x04", "branch 2"), (b"", "ends"), (b"\x00\x00", "follow"), (b"\x03", "-2")]
)
def test_a_body_that_is_no_value_of_the_union_is_malformed(value: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        decode(confluent_prefix(1) + value, lambda _: {"type": ["null", PLAIN]}, READING)


def test_the_fields_of_a_broken_value_of_a_union_are_shown() -> None:
    value = encode(RECORD, parsed(PLAIN), confluent_prefix(1) + b"\x02")
    found = decode_fields(value + b"x", lambda _: {"type": ["null", PLAIN]}, READING)
    assert found.record == RECORD
    assert "follow the record" in str(found.fault)


def test_a_record_that_stands_for_more_than_can_be_read_is_refused_at_once() -> None:
    doubling: Any = "null"
    for depth in range(60):
        fields = [{"name": "a", "type": doubling}, {"name": "b", "type": "null" if depth == 0 else f"L{depth - 1}"}]
        doubling = {"type": "record", "name": f"L{depth}", "fields": fields}
    with pytest.raises(IncompatibleSchemaError, match="too large"):
        compile_decoder(record_schema(*NAMES, ("ts", "long"), ("more", doubling)), READING)


def test_a_record_of_a_hundred_thousand_fields_is_refused() -> None:
    many = [(f"f{i}", "null") for i in range(100_000)]
    with pytest.raises(IncompatibleSchemaError, match="too large"):
        compile_decoder(record_schema(*NAMES, ("ts", "long"), *many), READING)
