"""Whether a worker that was fenced has been superseded, or only cut off."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import NewTopic

from common.errors import DependencyDownError
from tests.harness import wait_until
from worker.consume.group_health import Succession
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.group_description import describe_group

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
SESSION_S = 2.0
REBALANCE_S = 15.0  # longer than the session and all that is granted on top of it
MEMBER = """
import sys
from confluent_kafka import Consumer, KafkaException
bootstrap, group, instance = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": group, "group.instance.id": instance,
    "session.timeout.ms": 2000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": "range",
})
consumer.subscribe([group])
while True:
    consumer.poll(0.1)
"""


@contextmanager
def member(kafka: str, group: str, instance: str) -> Iterator[subprocess.Popen[bytes]]:
    """A static member in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", MEMBER, kafka, group, instance])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def group(kafka: str, unique_name: str) -> str:
    """A group's name, and a topic of the same name."""
    admin = admin_client(client_config(kafka))
    admin.create_topics([NewTopic(unique_name, 2, 1)])[unique_name].result()
    return unique_name


@pytest.fixture
def holders(kafka: str, group: str) -> Callable[[], set[str]]:
    """Names of the static members that the group has now."""
    admin = admin_client(client_config(kafka))
    return lambda: {m.group_instance_id for m in admin.describe_consumer_groups([group])[group].result().members}


def answer(succession: Succession) -> bool:
    """What comes of looking until it is known."""
    while True:
        try:
            return succession.superseded()
        except DependencyDownError:
            time.sleep(0.2)


def test_a_place_that_only_a_rebalance_keeps_has_no_successor(
    kafka: str, group: str, holders: Callable[[], set[str]]
) -> None:
    """As for a worker whose request to join reached the group late, after the worker had been cut off."""
    slow = Consumer(
        client_config(kafka)
        | {
            "group.id": group,
            "group.instance.id": "slow",
            "session.timeout.ms": 6000,
            "max.poll.interval.ms": round(REBALANCE_S * 1000),
            "partition.assignment.strategy": "range",
        }
    )
    slow.subscribe([group])
    wait_until(lambda: slow.poll(0.1) is None and slow.assignment(), "the slow member has joined")
    # Not polled any more, it holds up the rebalance that the other one begins.
    with member(kafka, group, "w1") as cut_off:
        wait_until(lambda: "w1" in holders(), "the other member asks to join")
        cut_off.kill()
        killed = time.monotonic()
        succession = Succession(client_config(kafka), group, "w1", SESSION_S)
        assert not answer(succession)
        assert time.monotonic() - killed > SESSION_S + 10, "it was gone so soon that nothing was shown"
    slow.close()


def test_a_live_process_of_the_same_name_is_a_successor(
    kafka: str, group: str, holders: Callable[[], set[str]]
) -> None:
    with member(kafka, group, "w1"):
        wait_until(lambda: "w1" in holders(), "it has joined")
        assert answer(Succession(client_config(kafka), group, "w1", SESSION_S))


def test_a_place_that_nobody_holds_has_no_successor(kafka: str, group: str) -> None:
    assert not Succession(client_config(kafka), group, "w1", SESSION_S).superseded()


def test_a_group_is_described_by_another_process(kafka: str, group: str, holders: Callable[[], set[str]]) -> None:
    with member(kafka, group, "w1"):
        wait_until(lambda: "w1" in holders(), "it has joined")
        described = wait_until(lambda: (d := describe_group(client_config(kafka), group)).state == "STABLE" and d, "it")
        (only,) = described.members
        assert (only.name, only.static, only.partitions) == ("w1", True, 2)
        assert only.member_id.startswith("w1-")
        assert "READ" in described.operations


def test_what_goes_wrong_in_that_process_is_an_error_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:1"}
    with pytest.raises(KafkaException, match="Connection refused"):
        describe_group(nowhere, "g")
    # As where librdkafka aborts.
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -ABRT $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(KafkaException, match="coordinator does not answer"):
        describe_group(nowhere, "g")
