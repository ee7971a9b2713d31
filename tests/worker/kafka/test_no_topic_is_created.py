"""Commands that only read leave a broker's topics as they are, also where the broker creates what it is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner

from common.errors import DependencyDownError, UserError
from hazardstream.cli import app
from local.isolated_pipeline import isolated_pipeline
from local.kafka import kafka_broker
from tests.harness import wait_until
from worker.config.pipeline import load_pipeline
from worker.kafka.client_config import admin_client, client_config, topic_partitions

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("no_topic_is_created")]
AT = "2026-01-31T12:00:00Z"
COMMANDS = [
    "topics check",
    "doctor --model /nowhere",
    "tail predictions --limit 1",
    "tail no.such.topic --limit 1",
    "dlq list",
    "dlq show",
    "dlq redrive --dry-run",
    f"explain --key M1 --at {AT} --model /nowhere",
    "drift --model /nowhere",
    "simulate --duration 1",
]


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that creates each topic a client asks for."""
    with kafka_broker(tmp_path_factory.mktemp("kafka"), auto_create=True) as address:
        yield address


@pytest.mark.parametrize("there", ["nothing", "input"])
def test_no_command_creates_a_topic(bootstrap: str, unique_name: str, tmp_path: Path, there: str) -> None:
    file = isolated_pipeline(unique_name, tmp_path)
    admin = admin_client(client_config(bootstrap))
    if there == "input":
        name = load_pipeline(str(file)).input.topic
        admin.create_topics([NewTopic(name, 2, 1)])[name].result()
    before = topic_partitions(admin).keys() | {"__consumer_offsets"}
    for command in COMMANDS:
        words = command.format(directory=tmp_path).split()
        done = CliRunner().invoke(app, [*words, "--pipeline", str(file), "--bootstrap", bootstrap])
        told = isinstance(done.exception, UserError | DependencyDownError | SystemExit | None)
        assert told, f"{command}: {done.exception!r}"
        created = topic_partitions(admin).keys() - before
        assert not created, f"{command}: {created}"


def test_the_broker_of_these_tests_does_create_what_other_clients_ask_for(bootstrap: str, unique_name: str) -> None:
    admin = admin_client({"bootstrap.servers": bootstrap})
    admin.list_topics(unique_name, timeout=10.0)
    wait_until(lambda: unique_name in topic_partitions(admin), "the topic is created")
