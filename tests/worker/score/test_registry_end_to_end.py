"""Devices with schemas of their own in a real registry, old and new side by side; outputs in Confluent's format."""

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry
from schemas.wire import confluent_prefix
from tests.flagship import flagship_schema
from tests.harness import NORMAL, START_MS, Stage, avro, reading, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.registry]


def older_schema() -> dict[str, Any]:
    """What a device of the older system writes: its column names, its order, a field of its own, plain doubles."""
    sensors = [f for f in flagship_schema("SensorReading")["fields"] if f["name"] in NORMAL]
    return {
        "type": "record",
        "name": "SensorReading",
        "namespace": "older",
        "fields": [
            *({"name": f["aliases"][0], "type": "float"} for f in sensors),
            {"name": "firmware", "type": "string"},
            {"name": "Timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "Rack_ID", "type": "string"},
            {"name": "Module_ID", "type": "string"},
        ],
    }


def test_old_and_new_devices_side_by_side(stage: Stage, registry: str) -> None:
    stage.registry_url = registry
    client = SchemaRegistry(registry)
    subject = f"{stage.pipeline.input.topic}-value"
    current, old = flagship_schema("SensorReading"), older_schema()
    current_prefix = confluent_prefix(client.register(subject, current))
    kept = json.loads(SchemaRegistryClient({"url": registry}).get_latest_version(subject).schema.schema_str)
    assert kept == current, "aliases, ranges and units are for every reader, so the registry has to keep them"
    assert {"minimum", "maximum", "unit"} <= {name for field in kept["fields"] for name in field}
    old_prefix = confluent_prefix(client.register(f"{subject}-old", old))
    names = {f["name"]: f.get("aliases", [f["name"]])[0] for f in current["fields"]}
    old_record: dict[str, Any] = {names[k]: v for k, v in NORMAL.items()}
    old_record |= {"firmware": "1.2", "Timestamp": START_MS + 20_000, "Rack_ID": "Rack1", "Module_ID": "m"}
    with stage.worker():
        stage.publish(
            [
                ("m", avro(reading("m", START_MS))),
                ("m", encode(reading("m", START_MS + 10_000), parsed(current), current_prefix)),
                ("m", encode(old_record, parsed(old), old_prefix)),
                ("m", confluent_prefix(2_000_000) + avro(reading("m", START_MS))[10:]),
            ]
        )
        wait_until(lambda: stage.outcomes() == 4, "all outcomes")
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    context = SerializationContext(stage.pipeline.topics["predictions"], MessageField.VALUE)
    predictions = [deserialize(m.value(), context) for m in stage.committed("predictions")]
    assert [p["readings_in_window"] for p in predictions] == [1, 2, 3]
    assert [p["imputed"] for p in predictions] == [[], [], []]
    (letter,) = stage.committed("dead_letters")
    assert dict(letter.headers())["hazardstream.reason"] == b"unknown_schema"


def test_a_registry_that_is_down_is_waited_for_and_nothing_is_dead_lettered(stage: Stage, registry: str) -> None:
    client = SchemaRegistry(registry)
    schema = flagship_schema("SensorReading")
    prefix = confluent_prefix(client.register(f"{stage.pipeline.input.topic}-value", schema))
    stage.publish([("m", encode(reading("m", START_MS), parsed(schema), prefix))])
    stage.registry_url = "http://127.0.0.1:1"
    with stage.worker() as worker:
        worker.await_reason("schema registry")
        assert worker.answer("/live").status_code == 200
        assert worker.stop() == 0
    assert stage.outcomes() == 0
    stage.registry_url = registry
    with stage.worker():
        wait_until(lambda: stage.outcomes() == 1, "the reading is scored once the registry answers")
    assert len(stage.committed("predictions")) == 1
