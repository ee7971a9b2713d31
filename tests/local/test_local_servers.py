import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from mlflow import MlflowClient

from common.errors import UserError
from local.mlflow_server import mlflow_server
from local.mock import mock_cluster
from local.process import answers, pid_file, start, stop, wait_until_ready
from local.registry import registry_server, schema_registry

SCHEMA = '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]}'


@pytest.mark.registry
def test_the_registry_keeps_a_schema_and_is_gone_after(tmp_path: Path) -> None:
    with schema_registry(tmp_path) as url:
        client = SchemaRegistryClient({"url": url})
        schema_id = client.register_schema("readings-value", Schema(SCHEMA, "AVRO"))
        assert client.get_latest_version("readings-value").schema_id == schema_id
        pid = int(pid_file(tmp_path / "registry.log").read_text())
        listening = [c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert not psutil.pid_exists(pid)


@pytest.mark.registry
def test_a_registry_killed_and_launched_again_has_the_same_schemas_under_the_same_ids(tmp_path: Path) -> None:
    with registry_server(tmp_path) as (server, url):
        schema_id = SchemaRegistryClient({"url": url}).register_schema("readings-value", Schema(SCHEMA, "AVRO"))
        server.kill()
        assert not answers(f"{url}/subjects")
        server.launch()
        wait_until_ready([server], lambda: answers(f"{url}/subjects"))
        found = SchemaRegistryClient({"url": url}).get_latest_version("readings-value")
        assert found.schema_id == schema_id


@pytest.mark.registry
def test_the_run_s_registry_answers(registry: str) -> None:
    assert httpx.get(f"{registry}/subjects").is_success


@pytest.mark.slow  # starts servers
def test_the_mlflow_server_keeps_a_model_and_is_gone_after(tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as url:
        MlflowClient(url).create_registered_model("hazard")
        assert [model.name for model in MlflowClient(url).search_registered_models()] == ["hazard"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_the_mock_cluster_carries_records_on_as_many_partitions_as_asked() -> None:
    with mock_cluster({"one": 1, "seven": 7}) as bootstrap:
        producer = Producer({"bootstrap.servers": bootstrap})
        topics = producer.list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {"one": 1, "seven": 7}
        producer.produce("seven", b"hello", partition=6)
        assert producer.flush(10) == 0
        reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "g"})
        reader.assign([TopicPartition("seven", 6, 0)])
        message = reader.poll(10)
        reader.close()
        assert message is not None
        assert message.value() == b"hello"


@pytest.mark.slow  # starts servers
def test_a_server_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = start("a server", ["sh", "-c", "seq 1000; echo out of order; exit 3"], tmp_path / "a.log")
    with pytest.raises(
        UserError, match=r"(?s)a server ended with exit code 3; .*a\.log:.*1000\nout of order"
    ) as raised:
        wait_until_ready([server], lambda: False)
    assert "\n500\n" not in str(raised.value)
    assert server.watchdog.returncode is not None


@pytest.mark.slow  # starts servers
def test_stopping_ends_the_children_of_a_server_too(tmp_path: Path) -> None:
    family = "import subprocess, sys; subprocess.run(['sleep', '600'])"
    server = start("a parent", [sys.executable, "-c", family], tmp_path / "parent.log")
    parent = psutil.Process(server.process.pid)
    wait_until_ready([server], lambda: bool(parent.children()))
    (child,) = parent.children()
    stop([server])
    child.wait(10)
    assert not parent.is_running()


@pytest.mark.slow  # starts servers
def test_a_server_stopped_twice_is_just_stopped(tmp_path: Path) -> None:
    server = start("a sleeper", ["sleep", "600"], tmp_path / "sleeper.log")
    os.kill(server.process.pid, signal.SIGKILL)
    stop([server])
    stop([server])
    assert server.process.returncode == -signal.SIGKILL
    assert server.watchdog.returncode is not None
