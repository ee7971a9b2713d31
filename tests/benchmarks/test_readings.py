import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.checking import faults
from benchmarks.readings import HEAD_BYTES, PERIOD_MS, Readings
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema

START_MS = 1_780_000_000_000
READINGS = Readings(modules=40, start_ms=START_MS)


def test_each_reading_is_a_valid_one_by_the_schema_and_of_its_module_and_time() -> None:
    numbers = np.arange(4000)
    keys, values = READINGS.encode(numbers)
    schema, lookup = flagship_schema("SensorReading"), writer_schema_lookup(None, KNOWN_SCHEMAS)
    missing = 0
    for number, key, value in zip(numbers.tolist(), keys, values, strict=True):
        record = decode(value, lookup, schema)
        PIPELINE.input.record_model.model_validate(record)
        assert record["module_id"].encode() == key
        assert int(record["module_id"][1:]) == number % 40
        assert record["ts"] == START_MS + number // 40 * PERIOD_MS
        missing += sum(sensor is None for sensor in record.values())
    assert missing > 0, "a fleet's sensors do miss values"


@given(st.lists(st.integers(0, 100_000_000)))
def test_a_reading_is_known_again_by_its_head(numbers: list[int]) -> None:
    _, values = READINGS.encode(np.array(numbers, np.int64))
    heads = b"".join(value[:HEAD_BYTES] for value in values)
    assert READINGS.numbers(heads).tolist() == numbers


def test_other_records_are_distinguished_from_readings() -> None:
    _, of_others = Readings(modules=50, start_ms=START_MS + 1).encode(np.arange(100))
    _, (of_41st, *_) = Readings(modules=41, start_ms=START_MS).encode(np.array([40]))
    for value in [*of_others, of_41st, bytes(HEAD_BYTES), b"\xff" * HEAD_BYTES]:
        assert READINGS.numbers(value[:HEAD_BYTES]).tolist() == [-1]


def test_an_output_with_every_reading_once_in_any_order_has_no_faults() -> None:
    assert faults(np.array([2, 0, 1]), 3) == []


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([0, 1], "1 of 3 readings have none"),
        ([0, 1, 2, 2], "1 of 4 records are about readings that already had one"),
        ([0, 1, 2, 3], "1 of 4 records are about readings that were never sent"),
        ([0, 1, 2, -1], "1 of 4 records are about readings that were never sent"),
    ],
)
def test_any_other_output_is_reported(found: list[int], fault: str) -> None:
    assert faults(np.array(found), 3) == [fault]
