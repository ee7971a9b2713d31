"""What is wrong with the schemas and the record that a pipeline file names is told with the fix."""

import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

import schemas.load
from schemas.load import shipped_schemas
from tests.wrong_pipelines import GOOD, line_of, told, write
from worker.config.output_fields import SAMPLES
from worker.config.pipeline import load_pipeline


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
    "unknown field": ("HazardPrediction", added(name="extra", type="string"), "nothing is written to field 'extra'"),
    "unknown with default": ("HazardPrediction", added(name="e", type="string", default=""), "written to field 'e'"),
    "alarm field": ("HazardAlarm", added(name="operator", type="string"), "nothing is written to field 'operator'"),
    "left out": ("HazardPrediction", without("source_offset"), "no field 'source_offset', which is written; .*long"),
    "state left out": ("HazardState", without("peak_probability"), "no field 'peak_probability'"),
    "probability as float": ("HazardPrediction", typed("hazard_probability", "float"), 'declare it as "double"'),
    "probability as text": ("HazardAlarm", typed("hazard_probability", "string"), 'declare it as "double"'),
    "nullable column": ("HazardPrediction", typed("threshold", ["null", "double"]), 'declare it as "double"'),
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
    "shadow": ("ShadowScore", added(name="more", type="long"), "nothing is written to field 'more'"),
    "no record": ("HazardAlarm", replaced_by_a_string, "not an Avro record; make it one"),
    "no Avro": (
        "HazardAlarm",
        lambda s: s.update(fields=[{"name": "x", "type": "nonsense"}]),
        "not a valid Avro schema",
    ),
    "no fields": ("HazardAlarm", lambda s: s.pop("fields"), "not a valid Avro schema|not an Avro record"),
    "reading's time": ("SensorReading", typed("ts", {"type": "long", "logicalType": "timestamp-micros"}), "millis"),
    "reading's key": ("SensorReading", typed("module_id", ["null", "string"]), "must be 'string', not null"),
    "text for a sensor": ("SensorReading", typed("voltage_v", ["null", "string"]), "is a sensor and must be a number"),
    "sensor left out": ("SensorReading", without("voltage_v"), "has no field 'voltage_v'; add it"),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_schema_that_cannot_carry_what_is_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    name, change, said = SCHEMAS[case]
    changed = copy.deepcopy(shipped_schemas())
    change(changed[name])
    monkeypatch.setattr(schemas.load, "shipped_schemas", lambda: changed)
    faults = told(write(tmp_path, GOOD))
    marker = "record:" if name == "SensorReading" else f"schema: {name}"
    if name == "SensorReading":
        marker = {"reading's time": "time: ts", "reading's key": "key: module_id"}.get(case, marker)
    found = [fault for fault in faults if re.search(said, fault)]
    assert found, "\n".join(faults)
    assert f":{line_of(GOOD, marker)}: " in found[0]


def record(name: str, **fields: Any) -> type[BaseModel]:
    base = {"unit": (str, ...), "site": (str, ...), "at": (int, ...), "heat": (float | None, None)}
    declared = {k: v for k, v in (base | fields).items() if v is not None}
    namespace = {"__annotations__": {k: v[0] for k, v in declared.items()}, "__module__": "odd_records"}
    return type(name, (BaseModel,), namespace | {k: v[1] for k, v in declared.items() if v[1] is not ...})


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "sensor that is text": ({"heat": (str | None, None)}, r"sensor 'heat' .* must be float \| None = None"),
    "sensor that is whole": ({"heat": (int | None, None)}, r"must be float \| None = None"),
    "sensor with a default": ({"heat": (float | None, 1.0)}, r"must be float \| None = None"),
    "field without a role": ({"serial": (str, ...)}, "field 'serial' .* is required and has no role"),
    "no sensor": ({"heat": None}, "has no sensor"),
    "time that is a float": ({"at": (float, ...)}, "must be required and int"),
    "key that may be missing": ({"unit": (str | None, None)}, "must be required and str"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_cannot_be_scored_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    fields, said = RECORDS[case]
    module = ModuleType("odd_records")
    module.Odd = record("Odd", **fields)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_records", module)
    kinds = {"unit": "string", "site": "string", "at": "long", "heat": ["null", "double"], "serial": "string"}
    avro = [{"name": n, "type": kinds[n]} for n in module.Odd.model_fields]
    known = shipped_schemas() | {"Odd": {"type": "record", "name": "Odd", "fields": avro}}
    monkeypatch.setattr(schemas.load, "shipped_schemas", lambda: known)
    text = GOOD.replace("pipelines.battery_hazard.records:SensorReading", "odd_records:Odd").replace(
        "key: module_id", "key: unit"
    )
    text = text.replace("group: rack_id", "group: site").replace("time: ts", "time: at")
    faults = told(write(tmp_path, text))
    assert [fault for fault in faults if re.search(said, fault)], "\n".join(faults)


def test_samples_are_what_the_schemas_that_come_with_the_package_hold() -> None:
    pipeline = load_pipeline("battery_hazard")
    source = pipeline.input
    names = {"key": source.key, "group": source.group, "time": source.time} | pipeline.outputs.fields
    for role, name in pipeline.schemas.items():
        if role != "input":
            written = {names.get(word, word) for word in SAMPLES[role]}
            assert written == {f["name"] for f in shipped_schemas()[name]["fields"]}, role
