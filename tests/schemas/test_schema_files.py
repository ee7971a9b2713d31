"""The .avsc files, and their agreement with the Pydantic models."""

from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import UserError
from pipelines.battery_hazard import records
from schemas.load import load_schema, parsed, shipped_schemas

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


def test_the_four_records_are_shipped() -> None:
    assert {"SensorReading", "HazardPrediction", "HazardAlarm", "HazardState"} <= set(shipped_schemas())


@pytest.mark.parametrize("name", shipped_schemas())
def test_every_file_is_a_valid_schema_of_its_name_with_a_doc_on_every_field(name: str) -> None:
    schema = load_schema(name)
    parsed(schema)
    assert schema["name"] == name.split(".", maxsplit=1)[0]
    assert schema["doc"]
    undocumented = [
        field["name"] for record in records_in(schema) for field in record["fields"] if not field.get("doc")
    ]
    assert undocumented == []


def test_nested_records_are_looked_into_as_well() -> None:
    assert [record["name"] for record in records_in(load_schema("HazardAlarm"))] == ["HazardAlarm", "Contribution"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"SensorReeding.*SensorReading"):
        load_schema("SensorReeding")


@pytest.mark.parametrize(("older", "field"), OLDER_COLUMNS.items())
def test_every_older_column_is_an_alias(older: str, field: str) -> None:
    fields = {field["name"]: field for field in load_schema("SensorReading")["fields"]}
    assert older in fields[field]["aliases"]


def test_no_alias_stands_for_two_fields() -> None:
    fields = load_schema("SensorReading")["fields"]
    names = [name for field in fields for name in (field["name"], *field.get("aliases", []))]
    assert len(names) == len(set(names))


def test_the_model_has_the_fields_of_the_schema_in_its_order() -> None:
    fields = load_schema("SensorReading")["fields"]
    assert [field["name"] for field in fields] == list(records.SensorReading.model_fields)


def test_a_field_is_nullable_in_the_model_where_it_is_in_the_schema() -> None:
    avro_types = {"string": "string", "long": "integer", "double": "number"}
    properties = records.SensorReading.model_json_schema()["properties"]
    for field in load_schema("SensorReading")["fields"]:
        kind = field["type"]
        nullable = isinstance(kind, list)
        primitive = kind[1] if nullable else kind
        primitive = primitive["type"] if isinstance(primitive, dict) else primitive
        model_field = properties[field["name"]]
        in_model = [branch["type"] for branch in model_field.get("anyOf", [model_field])]
        assert in_model == ([avro_types[primitive], "null"] if nullable else [avro_types[primitive]]), field["name"]
        assert records.SensorReading.model_fields[field["name"]].is_required() == ("default" not in field)
