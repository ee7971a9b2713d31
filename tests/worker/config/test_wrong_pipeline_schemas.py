"""What is wrong with the schemas and the record that a pipeline file names is told with the fix."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flagship import PIPELINE, changeable_schema
from tests.wrong_pipelines import GOOD, line_of, told, write


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(f for f in schema["fields"] if f["name"] == name)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        schema["fields"].remove(field(schema, name))

    return change


def typed(name: str, avro_type: Any) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        field(schema, name).pop("default", None)
        field(schema, name)["type"] = avro_type

    return change


def replaced_by_a_string(schema: dict[str, Any]) -> None:
    schema.clear()
    schema.update(type="string")


def added(**declared: Any) -> Callable[[dict[str, Any]], None]:
    return lambda schema: schema["fields"].append(declared)


SCHEMAS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "unknown field": (
        "HazardPrediction",
        added(name="extra", type="string"),
        "field 'extra': nothing is written to it",
    ),
    "unknown with default": (
        "HazardPrediction",
        added(name="e", type="string", default=""),
        "field 'e': nothing is written to it",
    ),
    "alarm field": ("HazardAlarm", added(name="operator", type="string"), "field 'operator': nothing is written to it"),
    "left out": ("HazardPrediction", without("source_offset"), "no field 'source_offset', which is written; .*long"),
    "state left out": ("HazardState", without("peak_probability"), "no field 'peak_probability'"),
    "probability as float": ("HazardPrediction", typed("hazard_probability", "float"), 'declare it as "double"'),
    "probability as text": ("HazardAlarm", typed("hazard_probability", "string"), 'declare it as "double"'),
    "offset as int": ("HazardPrediction", typed("source_offset", "int"), 'declare it as "long"'),
    "alarm offset as int": ("HazardAlarm", typed("source_offset", "int"), 'declare it as "long"'),
    "time in microseconds": ("HazardAlarm", typed("ts", {"type": "long", "logicalType": "timestamp-micros"}), "millis"),
    "text as enum": (
        "HazardPrediction",
        typed("model_name", {"type": "enum", "name": "E", "symbols": ["m"]}),
        "string",
    ),
    "state as enum": ("HazardState", typed("state", {"type": "enum", "name": "E", "symbols": ["ACTIVE"]}), "string"),
    "never null": ("HazardState", typed("onset_ts", "long"), '"null"'),
    "flags as text": ("HazardPrediction", typed("imputed", "string"), "array"),
    "sketch": ("FeatureSketch", typed("columns", "string"), "map"),
    "event": ("DriftEvent", typed("psi", "double"), '"null"'),
    "label": ("HazardLabel", without("labelled_at"), "no field 'labelled_at'"),
    "shadow": ("ShadowScore", added(name="more", type="long"), "field 'more': nothing is written to it"),
    "no record": ("HazardAlarm", replaced_by_a_string, "not an Avro record; make it one"),
    "no Avro": (
        "HazardAlarm",
        lambda s: s.update(fields=[{"name": "x", "type": "nonsense"}]),
        "not a valid Avro schema",
    ),
    "no fields": ("HazardAlarm", lambda s: s.pop("fields"), "not a valid Avro schema|not an Avro record"),
    "reading's time": ("SensorReading", typed("ts", {"type": "long", "logicalType": "timestamp-micros"}), "millis"),
    "reading's key": ("SensorReading", typed("module_id", ["null", "string"]), "may be null, and a key may not"),
    "text for a sensor": ("SensorReading", typed("voltage_v", ["null", "string"]), "minimum is only for a number"),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_schema_that_cannot_carry_what_is_written_is_reported(tmp_path: Path, case: str) -> None:
    name, change, said = SCHEMAS[case]
    changed = changeable_schema(name)
    change(changed)
    faults = told(write(tmp_path, GOOD, {name: changed}))
    marker = {"reading's time": "time: ts", "reading's key": "key: module_id"}.get(case, f"schema: {name}")
    found = [fault for fault in faults if re.search(said, fault)]
    assert found, "\n".join(faults)
    assert f":{line_of(GOOD, marker)}: " in found[0]
    assert re.search(rf"{name}\.avsc(:\d+)?: ", found[0]), found[0]


FIELDS = {"unit": "string", "site": "string", "at": "long", "heat": ["null", "double"]}

RECORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no field to score": ({"heat": None}, "no field is a number, .* so there is nothing to score", "schema"),
    "fields of types that are not read": (
        {"heat": {"type": "array", "items": "double"}},
        "no field is a number, .* so there is nothing to score",
        "schema",
    ),
    "time that is a float": (
        {"at": "double"},
        "field 'at' is 'double'; a time must be 'long' with logicalType timestamp-millis",
        "time",
    ),
    "time that is short": (
        {"at": "int"},
        "field 'at' is 'int'; a time must be 'long' with logicalType timestamp-millis",
        "time",
    ),
    "key that may be missing": (
        {"unit": ["null", "string"]},
        "field 'unit' may be null, and a key may not; take null out",
        "key",
    ),
    "key that is a number": ({"unit": "long"}, "field 'unit' is 'long'; a key must be 'string'", "key"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_cannot_be_scored_is_reported(tmp_path: Path, case: str) -> None:
    changes, said, setting = RECORDS[case]
    fields = [{"name": n, "type": t} for n, t in (FIELDS | changes).items() if t is not None]
    text = GOOD.replace("schema: SensorReading", "schema: Odd").replace("key: module_id", "key: unit")
    text = text.replace("group: rack_id", "group: site").replace("time: ts", "time: at")
    faults = told(write(tmp_path, text, {"Odd": {"type": "record", "name": "Odd", "fields": fields}}))
    assert [f for f in faults if re.search(rf": input\.{setting}: .*Odd\.avsc.*: {said}", f)], "\n".join(faults)


def test_an_impossible_range_is_reported_at_the_schema_that_has_it(tmp_path: Path) -> None:
    changed = changeable_schema("SensorReading")
    field(changed, "voltage_v")["minimum"] = 3000
    (fault,) = told(write(tmp_path, GOOD, {"SensorReading": changed}))
    assert f":{line_of(GOOD, 'schema: SensorReading')}: input.schema: " in fault
    said = "minimum 3000 is above maximum 2000, so no value is allowed; correct one of them"
    assert re.search(rf"SensorReading\.avsc:\d+: field 'voltage_v': {said}", fault)


def test_samples_are_what_the_schemas_that_come_with_the_package_hold() -> None:
    for role, record in PIPELINE.records.items():
        if role != "input":
            optional = {name for name, written in PIPELINE.written(role).items() if written.field.tasks}
            carried = {f["name"] for f in record.schema["fields"]}
            assert carried <= PIPELINE.written(role).keys() <= carried | optional, role
