import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

import local.kafka
from common.errors import UserError
from local.kafka import Gate, broker, broker_pids, kafka_broker, kafka_cluster
from local.process import free_ports
from tests.harness import wait_until
from tests.tcp_gate import Gate as TcpGate

HOLDER = """
import sys
from pathlib import Path
from local.kafka import kafka_broker
with kafka_broker(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


def create(bootstrap: str, topic: NewTopic) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[topic.topic].result(30)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def first_value(bootstrap: str, topic: str) -> bytes | None:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest"})
    try:
        reader.subscribe([topic])
        message = reader.poll(30)
        assert message is not None, "nothing came back"
        assert message.error() is None
        value: bytes | None = message.value()
        return value
    finally:
        reader.close()


def listening_addresses(pid: int) -> set[str]:
    return {each.laddr.ip for each in psutil.Process(pid).net_connections("inet") if each.status == psutil.CONN_LISTEN}


@pytest.mark.kafka
def test_records_come_back_and_outlive_the_broker_s_death(tmp_path: Path) -> None:
    with kafka_broker(tmp_path) as bootstrap:
        create(bootstrap, NewTopic("t", 3, 1))
        produce(bootstrap, "t", b"hello")
        assert first_value(bootstrap, "t") == b"hello"
        (pid,) = broker_pids(tmp_path)
        assert listening_addresses(pid) <= {"127.0.0.1", "::ffff:127.0.0.1"}
        os.kill(pid, signal.SIGKILL)
    assert not psutil.pid_exists(pid)
    assert broker_pids(tmp_path) == []

    with kafka_broker(tmp_path) as again:
        assert again == bootstrap
        assert first_value(again, "t") == b"hello"
        (pid,) = broker_pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
    assert not psutil.pid_exists(pid), "a broker held by SIGSTOP must be stopped too"


@pytest.mark.kafka
def test_the_broker_dies_with_a_killed_parent(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    (pid,) = broker_pids(tmp_path)
    jvm = psutil.Process(pid)
    holder.kill()
    holder.communicate()
    with contextlib.suppress(psutil.TimeoutExpired):
        jvm.wait(5)
    # Some inits leave the dead unburied for a while.
    assert not jvm.is_running() or jvm.status() == psutil.STATUS_ZOMBIE


@pytest.mark.kafka
def test_a_port_taken_meanwhile_is_replaced_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        choices = iter([[taken, *free_ports(1)]])
        monkeypatch.setattr(local.kafka, "free_ports", lambda count: next(choices, None) or free_ports(count))
        with kafka_broker(tmp_path) as bootstrap:
            assert next(choices, None) is None
            assert bootstrap != f"127.0.0.1:{taken}"
            create(bootstrap, NewTopic("t", 1, 1))


@pytest.mark.kafka
def test_three_nodes_keep_everything_three_times(tmp_path: Path) -> None:
    with kafka_broker(tmp_path, nodes=3, partitions=2) as bootstrap:
        create(bootstrap, NewTopic("t"))
        producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
        partitions = wait_until(
            lambda: producer.list_topics("t", timeout=10).topics["t"].partitions, "the topic is known"
        )
        assert {partition: sorted(about.replicas) for partition, about in partitions.items()} == {
            0: [1, 2, 3],
            1: [1, 2, 3],
        }
        produce(bootstrap, "t", b"hello")
        assert len(broker_pids(tmp_path)) == 3


@pytest.mark.kafka
def test_a_killed_node_comes_back_and_clients_of_a_gate_are_led_to_its_outer_ports(tmp_path: Path) -> None:
    (inner,) = free_ports(1)
    outer = TcpGate(inner)
    with kafka_cluster(tmp_path, nodes=1, gates=[Gate([inner], [outer.port])]) as cluster:
        create(cluster.bootstrap, NewTopic("t", 1, 1))
        produce(cluster.bootstrap, "t", b"hello")
        cluster.servers[0].kill()
        assert broker_pids(tmp_path) == []
        cluster.servers[0].launch()
        assert first_value(f"127.0.0.1:{outer.port}", "t") == b"hello"
        brokers = AdminClient({"bootstrap.servers": f"127.0.0.1:{outer.port}"}).list_topics(timeout=10).brokers
        assert [broker.port for broker in brokers.values()] == [outer.port]
    outer.shut()


@pytest.mark.slow  # starts Java
def test_a_directory_of_another_cluster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data-1").mkdir()
    (tmp_path / "data-1" / "meta.properties").write_text("version=1\ncluster.id=another-cluster\nnode.id=1\n")
    with (
        pytest.raises(UserError, match=r"(?s)cannot format its data directory; delete it.*another-cluster"),
        kafka_broker(tmp_path),
    ):
        pass
    assert broker_pids(tmp_path) == []


def test_a_broker_named_in_the_environment_is_used_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker.example:9092")
    with broker(tmp_path) as bootstrap:
        assert bootstrap == "broker.example:9092"
    assert list(tmp_path.iterdir()) == []
