"""Which columns and values the fields of Avro records become."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from schemas.errors import IncompatibleSchemaError, InvalidValueError, MalformedError
from sink.columns import Columns, Kind
from tests.sink.records import message, record_of, table, written

_MS = {"type": "long", "logicalType": "timestamp-millis"}
_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
_ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("avro", "given", "kind", "expected"),
    [
        ("boolean", True, "boolean", True),
        ("int", 3, "integer", 3),
        (["null", "long"], 2**63 - 1, "integer", 2**63 - 1),
        ("float", 0.5, "double", 0.5),
        (["null", "double"], float("inf"), "double", float("inf")),
        ("string", "a\0b", "text", "a\0b"),
        (_ENUM, "B", "text", "B"),
        ("bytes", b"\xff", "bytes", b"\xff"),
        (_MS, -1, "timestamp", datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC)),
        (_MICROS, 1, "timestamp", datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
        ({"type": "int", "logicalType": "date"}, 1, "date", date(1970, 1, 2)),
        (_DECIMAL, (-12345).to_bytes(3, signed=True), "decimal", Decimal("-123.45")),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1, "integer", 1),
        ({"type": "array", "items": "double"}, [1.0, float("nan")], "json", "[1.0, null]"),
        ({"type": "map", "values": "bytes"}, {"a": b"x"}, "json", '{"a": "x"}'),
        (["string", "long"], 5, "json", "5"),
        (["long", "double"], 0.5, "double", 0.5),
    ],
)
def test_a_field_becomes_a_column(avro: Any, given: Any, kind: Kind, expected: Any) -> None:
    plain = {**avro, "logicalType": "none"} if isinstance(avro, dict) and "logicalType" in avro else avro
    made = table(record_of(("x", avro)))

    row = made.values(message(written(record_of(("x", plain)), {"x": given})))

    assert [column.kind for column in made.columns.by_field.values()] == [kind]
    assert row == {"x": expected}


@pytest.mark.parametrize("raw", [2**63 - 1, -(2**63), 253_402_300_800_000])
def test_a_time_outside_of_the_calendar_makes_a_record_unreadable(raw: int) -> None:
    made = table(record_of(("at", _MS)))

    with pytest.raises(InvalidValueError, match="outside of the years 1 to 9999"):
        made.values(message(written(record_of(("at", "long")), {"at": raw})))


@pytest.mark.parametrize(("raw", "error"), [(b"", MalformedError), (b"\1" * 4000, InvalidValueError)])
def test_a_decimal_that_is_none_makes_a_record_unreadable(raw: bytes, error: type[Exception]) -> None:
    made = table(record_of(("x", _DECIMAL)))

    with pytest.raises(error, match="a decimal has"):
        made.values(message(written(record_of(("x", "bytes")), {"x": raw})))


def test_a_tombstone_is_a_row_without_values() -> None:
    assert table(record_of(("x", "long"))).values(message(None)) == {}


def test_a_field_that_only_a_newer_schema_has_becomes_a_column_too() -> None:
    ours, newer = record_of(("x", "long")), record_of(("note", ["null", _ENUM]), ("x", "long"))
    made = table(ours, newer)

    rows = [made.values(message(value)) for value in (written(ours, {"x": 1}), written(newer, {"x": 2, "note": "A"}))]

    assert rows == [{"x": 1}, {"x": 2, "note": "A"}]
    assert [*made.columns.by_field] == ["x", "note"]


def test_a_new_field_that_does_not_fit_its_column_makes_a_record_unreadable() -> None:
    ours = record_of(("x", "long"))
    one, other = record_of(("x", "long"), ("y", "long")), record_of(("x", "long"), ("y", "string"))
    made = table(ours, one, other)
    made.values(message(written(one, {"x": 1, "y": 2})))

    for _ in range(2):  # the reason is cached
        with pytest.raises(IncompatibleSchemaError, match=r"'y' is text, but its column y holds .* integer"):
            made.values(message(written(other, {"x": 1, "y": "a"})))


@pytest.mark.parametrize("name", ["", "a b", 'a"; DROP TABLE x', "a%s", "1a", "Ä", "x" * 200, "ctid", "kafka_offset"])
def test_a_name_that_a_database_refuses_is_changed(name: str) -> None:
    columns = Columns({})
    columns.add({name: "text"})

    (column,) = columns.by_field.values()
    assert column.name != name
    assert column.name.isidentifier()
    assert len(column.name) <= 63


def test_names_that_differ_in_case_only_get_columns_of_their_own() -> None:
    columns = Columns({})
    columns.add({"Temp": "text", "temp": "text"})

    first, second = (column.name for column in columns.by_field.values())
    assert first == "Temp"
    assert second.lower().startswith("temp_")


def test_a_table_has_no_more_columns_than_a_database_allows() -> None:
    columns = Columns({})

    with pytest.raises(IncompatibleSchemaError, match="more than 1000 columns"):
        columns.add({f"f{i}": "double" for i in range(1001)})
    assert not columns.by_field
