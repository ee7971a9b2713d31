import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from common.errors import DependencyDownError
from local.kafka import broker_pids, kafka_broker
from pipelines.battery_hazard.simulator.live import SimulateOptions, SimulationSummary, simulate
from producers.kafka_publisher import ReadingPublisher, encoder
from schemas.codec import decode
from schemas.registry import SchemaRegistry, writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema
from tests.harness import NORMAL
from worker.config.pipeline import load_pipeline

SCHEMA = flagship_schema("SensorReading")
MEASURED = [20.0, None, 50.5, -1.25, 80.0, 17.0, 0.0, 3.0, 19.0]


def test_without_a_registry_a_value_is_read_back_by_its_fingerprint() -> None:
    value = encoder(PIPELINE, None, [*NORMAL])("m1", "r1", 1_750_000_000_123, MEASURED)
    record = decode(value, writer_schema_lookup(None, KNOWN_SCHEMAS), SCHEMA)
    assert record == {
        "module_id": "m1",
        "rack_id": "r1",
        "ts": 1_750_000_000_123,
        **dict.fromkeys(PIPELINE.input.sensors()),
        **dict(zip(NORMAL, MEASURED, strict=True)),
    }


@pytest.mark.registry
def test_with_a_registry_a_value_is_in_confluents_format_and_read_back_by_its_id(registry: str) -> None:
    value = encoder(PIPELINE, registry, [*NORMAL])("m1", "r1", 1_750_000_000_123, MEASURED)
    assert value[0] == 0
    record = decode(value, writer_schema_lookup(SchemaRegistry(registry), KNOWN_SCHEMAS), SCHEMA)
    assert (record["module_id"], record["ts"], record["voltage_v"]) == ("m1", 1_750_000_000_123, 50.5)


def test_a_registry_that_is_away_is_reported() -> None:
    with pytest.raises(DependencyDownError, match=r"schema registry: .*http://127\.0\.0\.1:1 .*omit --registry"):
        encoder(PIPELINE, "http://127.0.0.1:1")


@pytest.mark.kafka
def test_more_than_the_clients_buffer_holds_is_delivered(
    kafka: str, pipeline_file: Path, drain: Callable[[str], list[list[tuple[str, bytes]]]]
) -> None:
    topic = load_pipeline(str(pipeline_file)).input.topic
    publisher = ReadingPublisher(topic, kafka)
    total = 150_000  # the buffer holds 100,000
    for number in range(total):
        publisher.send(b"k", str(number).encode(), "number")
    assert publisher.flush()
    assert publisher.delivered["number"] == total
    assert publisher.failed == 0
    (numbers,) = (partition for partition in drain(topic) if partition)
    assert [int(value) for _, value in numbers] == list(range(total))


@pytest.mark.kafka
def test_a_broker_that_is_killed_in_mid_run_delays_readings_and_loses_none(tmp_path: Path) -> None:
    directory = tmp_path / "kafka"
    topic = PIPELINE.input.topic
    seen: list[SimulationSummary] = []
    result: list[SimulationSummary] = []
    with kafka_broker(directory) as bootstrap:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        # Longer than a broker takes to come back.
        options = SimulateOptions(modules=16, speed=100, duration_s=20, bootstrap=bootstrap)
        run = threading.Thread(target=lambda: result.append(simulate(options, seen.append)))
        run.start()
        while not (seen and seen[-1].produced):
            assert run.is_alive()
            time.sleep(0.01)
        before = seen[-1].produced
        for pid in broker_pids(directory):
            os.kill(pid, signal.SIGKILL)
    with kafka_broker(directory) as again:
        assert again == bootstrap
        run.join(90)
        assert result[0].produced == 200 * 16
        assert result[0].failed == 0
        assert before < result[0].produced
