"""The .avsc files of the flagship pipeline: what they declare is what producers and workers rely on."""

from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import UserError
from schemas.field_rules import FieldRules
from schemas.load import parsed
from schemas.wire import fingerprint
from tests.flagship import PIPELINE, SCHEMA_NAMES, flagship_schema

# The columns of the older system this one replaces, and what each is called now.
OLDER_COLUMNS = {
    "Module_ID": "module_id",
    "Rack_ID": "rack_id",
    "Timestamp": "ts",
    "Module_Avg_Surface_Temp_C": "avg_surface_temp_c",
    "Module_Max_Surface_Temp_C": "max_surface_temp_c",
    "Module_Voltage_V": "voltage_v",
    "Module_Current_A": "current_a",
    "Module_SoC_percent": "soc_percent",
    "Sim_OffGas_CO_ppm_proxy": "offgas_co_ppm",
    "Sim_OffGas_H2_ppm_proxy": "offgas_h2_ppm",
    "Sim_OffGas_VOC_ppm_proxy": "offgas_voc_ppm",
    "Ambient_Temp_Rack_C": "ambient_temp_c",
}


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            for field in schema["fields"]:
                yield from records_in(field["type"])
        else:
            yield from records_in(schema.get("items", schema["type"]))


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_every_file_is_a_valid_schema_of_its_name_with_a_doc_on_every_field(name: str) -> None:
    schema = flagship_schema(name)
    parsed(schema)
    assert schema["name"] == name.split(".", maxsplit=1)[0]
    assert schema["doc"]
    undocumented = [
        field["name"] for record in records_in(schema) for field in record["fields"] if not field.get("doc")
    ]
    assert undocumented == []


def test_nested_records_are_looked_into_as_well() -> None:
    assert [record["name"] for record in records_in(flagship_schema("HazardAlarm"))] == ["HazardAlarm", "Contribution"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"SensorReeding.*SensorReading"):
        flagship_schema("SensorReeding")


@pytest.mark.parametrize(("older", "field"), OLDER_COLUMNS.items())
def test_every_older_column_is_an_alias(older: str, field: str) -> None:
    fields = {field["name"]: field for field in flagship_schema("SensorReading")["fields"]}
    assert older in fields[field]["aliases"]


def test_no_alias_stands_for_two_fields() -> None:
    fields = flagship_schema("SensorReading")["fields"]
    names = [name for field in fields for name in (field["name"], *field.get("aliases", []))]
    assert len(names) == len(set(names))


# As they were declared in Python until ranges moved into the schema.
_TEMPERATURE, _PPM = (-60, 1500, "°C"), (0, 1_000_000, "ppm")
_CELL_VOLTAGE, _INDEX = (-5, 20, "V"), (0, 65_534, "")
RANGES = {
    "ts": (1, 2**42 - 1, "ms"),
    "avg_surface_temp_c": _TEMPERATURE,
    "max_surface_temp_c": _TEMPERATURE,
    "voltage_v": (-5, 2000, "V"),
    "current_a": (-10_000, 10_000, "A"),
    "soc_percent": (-5, 110, "%"),
    "offgas_co_ppm": _PPM,
    "offgas_h2_ppm": _PPM,
    "offgas_voc_ppm": _PPM,
    "ambient_temp_c": (-60, 200, "°C"),
    "min_cell_voltage_v": _CELL_VOLTAGE,
    "max_cell_voltage_v": _CELL_VOLTAGE,
    "min_cell_temp_c": _TEMPERATURE,
    "max_cell_temp_c": _TEMPERATURE,
    "min_cell_voltage_index": _INDEX,
    "max_cell_voltage_index": _INDEX,
    "min_cell_temp_index": _INDEX,
    "max_cell_temp_index": _INDEX,
}


def test_ranges_units_and_lengths_of_a_reading() -> None:
    rules = PIPELINE.input.record.rules
    assert {name: (rule.low, rule.high, rule.unit) for name, rule in rules.items() if name in RANGES} == RANGES
    identity = FieldRules("text", "string", shortest=1, longest=200)
    assert {name: rule for name, rule in rules.items() if name not in RANGES} == {
        "module_id": identity,
        "rack_id": identity,
    }


# Of the files before ranges were declared in them: values on topics, and registries, know the schemas by these.
FINGERPRINTS = {
    "SensorReading": "df83da97fa900026",
    "SensorReading.v1": "b5f617ecd181b298",
    "HazardPrediction": "c27a5094d4549a4c",
    "HazardPrediction.v1": "a77b0042bf11c73d",
    "HazardPrediction.v2": "69d2e50c10ada163",
    "HazardAlarm": "d2c1b475550623ec",
    "HazardAlarm.v1": "c1a29e998a6f9925",
    "HazardAlarm.v2": "5f07ebb5798d9651",
    "HazardState": "7cb01bb7f068cdbb",
    "HazardLabel": "c0e43157b5284472",
    "ShadowScore": "7c2cabde24cf00af",
}


def test_fingerprints_have_not_changed() -> None:
    assert {name: fingerprint(flagship_schema(name)).value.hex() for name in FINGERPRINTS} == FINGERPRINTS


def test_superseded_versions_are_known() -> None:
    known = {schema["name"]: 0 for schema in PIPELINE.known_schemas.values()}
    for schema in PIPELINE.known_schemas.values():
        known[schema["name"]] += 1
    assert {name: versions for name, versions in known.items() if versions > 1} == {
        "HazardPrediction": 3,
        "HazardAlarm": 3,
        "SensorReading": 2,
    }
