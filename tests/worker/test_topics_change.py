"""Topics that change under a running worker: the input is created again, partitions are added."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from harness import START_MS, Stage, Worker, reading, wait_until

from worker.kafka_config import admin_client, client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.fixture
def admin(stage: Stage) -> AdminClient:
    return admin_client(client_config(stage.bootstrap))


def readings(step: int, steps: int) -> Iterator[dict[str, Any]]:
    for at in range(step, step + steps):
        for n in range(10):
            yield reading(f"m{n}", START_MS + at * 10_000)


def create_again(admin: AdminClient, topic: str, partitions: int = 2) -> None:
    admin.delete_topics([topic])[topic].result()

    def created() -> bool:
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
        except KafkaException:
            return False  # it is still being deleted
        return True

    wait_until(created, "the topic is created again")


def scored_times(stage: Stage) -> list[tuple[str, int]]:
    return sorted((r["module_id"], r["ts"]) for r in stage.records("predictions"))


def times(*parts: Iterator[dict[str, Any]]) -> list[tuple[str, int]]:
    return sorted((r["module_id"], r["ts"]) for part in parts for r in part)


def reasons_not_ready(worker: Worker) -> list[str]:
    answer = worker.get("/ready")
    return [] if answer is None else answer.json().get("reasons", [])


def test_the_input_is_created_again_while_a_worker_runs(stage: Stage, admin: AdminClient) -> None:
    topic = stage.pipeline.input.topic
    stage.publish_readings(readings(0, 4))
    with stage.worker() as worker:
        worker.await_scored(40)
        create_again(admin, topic)
        # At once, and more than the old one had: the client goes on at its old offset and tells nobody.
        stage.publish_readings(readings(10, 6))
        wait_until(lambda: len(scored_times(stage)) >= 100, "the new topic's readings, all of them")
        worker.await_ready()
        assert worker.metric("hazardstream_topics_recreated_total", role="input") == 1
        assert "deleted and created again" in worker.log.read_text()
        stage.publish_readings(readings(20, 1))
        worker.await_scored(110)
        assert worker.stop() == 0
    assert scored_times(stage) == times(readings(0, 4), readings(10, 6), readings(20, 1))
    ids = {r["source_topic_id"] for r in stage.records("predictions")}
    assert len(ids) == 2
    assert "" not in ids


def test_the_input_is_created_again_while_no_worker_runs(stage: Stage, admin: AdminClient) -> None:
    stage.publish_readings(readings(0, 4))
    with stage.worker() as worker:
        worker.await_scored(40)
        assert worker.stop() == 0
    create_again(admin, stage.pipeline.input.topic)
    # The very same readings again: only the topic's id tells that nobody has scored these.
    stage.publish_readings(readings(0, 6))
    with stage.worker() as worker:
        worker.await_scored(60)
        worker.await_ready()
        assert worker.stop() == 0
    assert scored_times(stage) == times(readings(0, 4), readings(0, 6))
