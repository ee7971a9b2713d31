"""The registry client against a real, Confluent-compatible registry."""

import json
import uuid

import pytest
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry import Schema as RegistrySchema

from common.errors import DependencyDownError
from schemas.codec import decode, encode
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.registry import SchemaRegistry, writer_schema_lookup
from schemas.wire import ConfluentId, confluent_prefix, fingerprint
from tests.flagship import KNOWN_SCHEMAS, flagship_schema

READING = flagship_schema("SensorReading")
A_READING = {"module_id": "M1", "rack_id": "R1", "ts": 5, "voltage_v": 51.5}
NO_SUCH_ID = 2**31 - 2
JSON_SCHEMA = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"})


@pytest.fixture
def subject() -> str:
    """A subject that no other test uses, as the registry is shared."""
    return f"readings-{uuid.uuid4()}-value"


@pytest.mark.registry
def test_a_registered_schema_is_found_by_its_id(registry: str, subject: str) -> None:
    schema_id = SchemaRegistry(registry).register(subject, READING)
    found = SchemaRegistry(registry).schema_of(ConfluentId(schema_id))
    assert fingerprint(found) == fingerprint(READING)
    assert found["fields"][0]["aliases"] == READING["fields"][0]["aliases"]


@pytest.mark.registry
def test_registering_again_gives_the_same_id(registry: str, subject: str) -> None:
    assert SchemaRegistry(registry).register(subject, READING) == SchemaRegistry(registry).register(subject, READING)


@pytest.mark.registry
def test_a_value_travels_by_way_of_the_registry(registry: str, subject: str) -> None:
    older = {
        "type": "record",
        "name": "SensorReading",
        "fields": [
            {"name": "Module_ID", "type": "string"},
            {"name": "Rack_ID", "type": "string"},
            {"name": "Timestamp", "type": "long"},
            {"name": "Module_Voltage_V", "type": "float"},
        ],
    }
    schema_id = SchemaRegistry(registry).register(subject, older)
    record = {"Module_ID": "M1", "Rack_ID": "R1", "Timestamp": 5, "Module_Voltage_V": 51.5}
    value = encode(record, older, confluent_prefix(schema_id))
    reading = decode(value, writer_schema_lookup(SchemaRegistry(registry), KNOWN_SCHEMAS), READING)
    assert {name: found for name, found in reading.items() if found is not None} == A_READING


@pytest.mark.registry
def test_an_unknown_id_is_an_unknown_schema(registry: str) -> None:
    with pytest.raises(UnknownSchemaError, match="not found"):
        SchemaRegistry(registry).schema_of(ConfluentId(NO_SUCH_ID))


@pytest.mark.registry
def test_references_to_other_subjects_are_put_in_place(registry: str, subject: str) -> None:
    client = SchemaRegistryClient({"url": registry})
    place = {"type": "record", "name": "Place", "namespace": "x", "fields": [{"name": "rack", "type": "string"}]}
    client.register_schema(f"{subject}-place", RegistrySchema(json.dumps(place), "AVRO"))
    fields = [*READING["fields"][:3], {"name": "place", "type": "x.Place"}, {"name": "before", "type": "x.Place"}]
    outer = RegistrySchema(
        json.dumps({**READING, "fields": fields}), "AVRO", [SchemaReference("x.Place", f"{subject}-place", 1)]
    )
    schema_id = client.register_schema(subject, outer)
    writer = SchemaRegistry(registry).schema_of(ConfluentId(schema_id))
    record = {"module_id": "M1", "rack_id": "R1", "ts": 5, "place": {"rack": "a"}, "before": {"rack": "b"}}
    value = encode(record, writer, confluent_prefix(schema_id))
    assert decode(value, lambda _: writer, READING)["module_id"] == "M1"


@pytest.mark.registry
def test_what_is_no_avro_record_is_incompatible(registry: str, subject: str) -> None:
    client = SchemaRegistryClient({"url": registry})
    json_id = client.register_schema(f"{subject}-json", RegistrySchema(JSON_SCHEMA, "JSON"))
    text_id = client.register_schema(f"{subject}-text", RegistrySchema('"string"', "AVRO"))
    with pytest.raises(IncompatibleSchemaError, match="JSON, not Avro"):
        SchemaRegistry(registry).schema_of(ConfluentId(json_id))
    with pytest.raises(IncompatibleSchemaError, match="not a record"):
        SchemaRegistry(registry).schema_of(ConfluentId(text_id))


@pytest.mark.registry
def test_a_subjects_compatibility_rule_can_refuse_a_schema(registry: str, subject: str) -> None:
    SchemaRegistry(registry).register(subject, READING)
    SchemaRegistryClient({"url": registry}).set_config(
        subject, ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD)
    )
    changed = {**READING, "fields": [*READING["fields"], {"name": "needed", "type": "string"}]}
    with pytest.raises(IncompatibleSchemaError, match="rejects"):
        SchemaRegistry(registry).register(subject, changed)


@pytest.mark.registry
def test_a_wrong_path_on_the_registry_is_not_taken_for_an_unknown_schema(registry: str) -> None:
    with pytest.raises(DependencyDownError, match="path in SCHEMA_REGISTRY_URL"):
        SchemaRegistry(registry + "/nothing/here").schema_of(ConfluentId(1))
