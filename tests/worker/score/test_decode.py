"""The columnar decoder against fastavro: the same values, and the same set of bytes accepted."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import decode, encode
from schemas.columnar_decoder import decoding_plan
from schemas.columnar_encoder import Column, Flags, encode_columns
from schemas.errors import UnreadableValueError
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.resolution import field_conversions
from schemas.text_column import TextColumn
from schemas.wire import ConfluentId, SchemaKey, confluent_prefix
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema
from tests.harness import NORMAL, PREFIX, START_MS, avro, reading
from worker.score.decode import Decoder, WriterSchemaOf

SOURCE = PIPELINE.input
READER = flagship_schema("SensorReading")
LOOKUP = writer_schema_lookup(None, KNOWN_SCHEMAS)
SENSORS = SOURCE.sensors()
Record = dict[str, Any]


def lookup_of(writer: Record) -> WriterSchemaOf:
    """A registry that holds this schema under the id 5."""
    by_id: dict[SchemaKey, Record] = {ConfluentId(5): writer}
    return by_id.__getitem__


def decoder(lookup: WriterSchemaOf = LOOKUP) -> Decoder:
    return Decoder(SOURCE, lookup)


def as_records(values: Sequence[bytes | None], lookup: WriterSchemaOf = LOOKUP) -> dict[int, Record]:
    """What the columns say, row by row, as records."""
    readings, rejections = decoder(lookup)(values)
    records = {}
    for i, row in enumerate(readings.row.tolist()):
        records[row] = {
            "module_id": readings.key[i],
            "rack_id": readings.group[i],
            "ts": int(readings.ts[i]),
            **{s: readings.values[i, j] if readings.present[i, j] else None for j, s in enumerate(SENSORS)},
        }
    assert sorted([*records, *(r.row for r in rejections)]) == list(range(len(values)))
    return records


def one_by_one(values: Sequence[bytes | None], lookup: WriterSchemaOf = LOOKUP) -> dict[int, Record]:
    records = {}
    for row, value in enumerate(values):
        try:
            records[row] = decode(value, lookup, READER)  # type: ignore[arg-type]  # null raises TypeError
        except (UnreadableValueError, TypeError):
            continue
    return records


def same(ours: dict[int, Record], theirs: dict[int, Record]) -> None:
    assert ours.keys() == theirs.keys()
    for row, record in ours.items():
        assert {k: repr(v) if v is not None else v for k, v in normal(record).items()} == {
            k: repr(v) if v is not None else v for k, v in normal(theirs[row]).items()
        }


def normal(record: Record) -> Record:
    return {k: float(v) if k in SENSORS and v is not None else v for k, v in record.items()}


sensor = st.one_of(st.none(), st.floats(width=64))
records = st.fixed_dictionaries(
    {
        "module_id": st.text(max_size=30),
        "rack_id": st.text(max_size=10),
        "ts": st.integers(-(2**63), 2**63 - 1),
        **dict.fromkeys(NORMAL, sensor),
    }
)


@pytest.mark.slow  # hundreds of examples
@settings(max_examples=200, deadline=None)
@given(st.lists(records, max_size=8))
def test_columns_equal_records(batch: list[Record]) -> None:
    values = [avro(r) for r in batch]
    same(as_records(values), one_by_one(values))


@pytest.mark.slow  # hundreds of examples
@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(records, st.integers(0, 400), st.integers(0, 7), st.integers(-3, 5)), min_size=1, max_size=8))
def test_corrupted_values_are_accepted_by_both_or_by_neither(batch: list[tuple[Record, int, int, int]]) -> None:
    values = []
    for record, place, bit, change in batch:
        value = bytearray(avro(record))
        value[place % len(value)] ^= 1 << bit
        values.append(bytes(value[:change] if change < 0 else value + bytes(change)))
    same(as_records(values), one_by_one(values))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda b: PREFIX + b), min_size=1, max_size=20))
def test_random_bytes_are_accepted_by_both_or_by_neither(values: list[bytes]) -> None:
    same(as_records(values), one_by_one(values))


OTHER_WRITERS: dict[str, list[dict[str, Any]]] = {
    "other order and widths, more fields": [
        {"name": "extra", "type": ["string", "null"]},
        {"name": "voltage_v", "type": "float"},
        {"name": "current_a", "type": ["double", "null"]},
        {"name": "soc_percent", "type": "int"},
        {"name": "ok", "type": "boolean"},
        {"name": "ts", "type": "long"},
        {"name": "rack_id", "type": "string"},
        {"name": "more", "type": ["null", "long"]},
        {"name": "module_id", "type": "string"},
    ],
    "not for columns": [
        {"name": "module_id", "type": "string"},
        {"name": "rack_id", "type": "string"},
        {"name": "tags", "type": {"type": "map", "values": "long"}},
        {"name": "ts", "type": "long"},
        {"name": "voltage_v", "type": ["null", "int", "double"]},
    ],
}


@pytest.mark.parametrize("name", OTHER_WRITERS)
def test_other_writers_are_resolved_alike(name: str) -> None:
    writer = {"type": "record", "name": "SensorReading", "fields": OTHER_WRITERS[name]}
    plan = decoding_plan(writer, READER, field_conversions(writer, READER, None))
    assert (plan is None) == (name == "not for columns")
    record = {
        "extra": "x", "voltage_v": 51.5, "current_a": None, "soc_percent": -7, "ok": True, "ts": START_MS,
        "rack_id": "R", "more": 3, "module_id": "m", "tags": {"a": 1},
    }  # fmt: skip
    own = {f["name"]: record[f["name"]] for f in OTHER_WRITERS[name]}
    value = encode(own, parsed(writer), confluent_prefix(5))
    lookup = lookup_of(writer)
    values = [value, value[:-1], value + b"\0", avro(reading("m", START_MS))[:0] + value]
    ours = as_records(values, lookup)
    same(ours, one_by_one(values, lookup))
    assert ours[0]["voltage_v"] == 51.5
    assert len(ours) == 2


def test_text_that_nobody_reads_must_be_utf_8_too() -> None:
    fields = [*READER["fields"], {"name": "note", "type": "string"}]
    writer = {"type": "record", "name": "SensorReading", "fields": fields}
    value = encode(reading("m", START_MS) | {"note": "ok"}, parsed(writer), confluent_prefix(5))
    readings, rejections = decoder(lookup_of(writer))([value, value[:-2] + b"\xff\xfe"])
    assert readings.row.tolist() == [0]
    assert [(r.row, r.reason) for r in rejections] == [(1, "malformed")]


@pytest.mark.parametrize("fields", [None, 7, [{"name": "x"}], [*READER["fields"], {"name": "x", "type": "X"}]])
def test_a_schema_that_is_none_is_incompatible_and_is_looked_into_once(
    fields: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = Mock(wraps=codec.compile_decoder)
    monkeypatch.setattr(codec, "compile_decoder", compiled)
    writer = {"type": "record", "name": "SensorReading", "fields": fields}
    decode_batch = decoder(lookup_of(writer))
    value = confluent_prefix(5) + bytes(60)
    for _ in range(2):
        readings, rejections = decode_batch([value] * 10)
        assert len(readings.row) == 0
        assert {r.reason for r in rejections} == {"incompatible_schema"}
    assert compiled.call_count == 1


def test_a_batch_may_mix_both_wire_formats_and_nulls() -> None:
    by_id: dict[SchemaKey, Record] = {ConfluentId(5): READER}

    def either(key: SchemaKey) -> Record:
        return by_id.get(key) or LOOKUP(key)

    record = reading("m", START_MS)
    values = [avro(record), None, encode(record, parsed(READER), confluent_prefix(5)), b"", avro(record)]
    readings, rejections = decoder(either)(values)
    assert readings.row.tolist() == [0, 2, 4]
    assert {r.row: r.reason for r in rejections} == {1: "null_value", 3: "malformed"}


prediction = st.fixed_dictionaries(
    {
        "module_id": st.text(max_size=20),
        "ts": st.integers(-(2**63), 2**63 - 1),
        "hazard_probability": st.floats(allow_nan=False),
        "hazardous": st.booleans(),
        "readings_in_window": st.integers(-(2**31), 2**31 - 1),
        "flags": st.lists(st.booleans(), min_size=3, max_size=3),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.lists(prediction, max_size=6))
def test_columns_are_encoded_as_fastavro_would(rows: list[Record]) -> None:
    names = ("a", "bb", "ü")
    schema = {
        "type": "record",
        "name": "P",
        "fields": [
            {"name": "module_id", "type": "string"},
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "hazard_probability", "type": "double"},
            {"name": "hazardous", "type": "boolean"},
            {"name": "model_name", "type": "string"},
            {"name": "threshold", "type": "double"},
            {"name": "readings_in_window", "type": "int"},
            {"name": "masked", "type": {"type": "array", "items": "string"}},
        ],
    }
    columns: dict[str, Column] = {
        "module_id": TextColumn.of([r["module_id"].encode() for r in rows]),
        **{n: np.array([r[n] for r in rows]) for n in ("ts", "hazard_probability", "hazardous", "readings_in_window")},
        "model_name": "möd",
        "threshold": 0.5,
        "masked": Flags(np.array([r["flags"] for r in rows], np.bool_).reshape(-1, 3), names),
    }
    constant = {"model_name": "möd", "threshold": 0.5}
    expected = [
        {k: v for k, v in r.items() if k != "flags"}
        | constant
        | {"masked": [n for n, flag in zip(names, r["flags"], strict=True) if flag]}
        for r in rows
    ]
    assert encode_columns(schema, columns, len(rows), b"\x01") == [
        encode(record, parsed(schema), b"\x01") for record in expected
    ]
