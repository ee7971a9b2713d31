"""The topic of window state is lost, in part or as a whole: the worker says so, and what to do about it."""

import json
from collections.abc import Callable
from itertools import islice

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewPartitions, NewTopic

from tests.activity import activity_stage, events
from tests.harness import Stage, Worker, wait_until
from tests.topic_settings import delete_records
from worker.kafka.client_config import admin_client, client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
PART = 100


@pytest.fixture
def activity(kafka: str, unique_name: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The pipeline of `tests.activity` on topics of this test's own, with two partitions."""
    return activity_stage(kafka, unique_name, tmp_path_factory.mktemp("activity"))


def create_again(stage: Stage, partitions: int) -> None:
    admin, topic = admin_client(client_config(stage.bootstrap)), stage.pipeline.topics["window_state"]
    admin.delete_topics([topic])[topic].result()

    def created() -> bool:
        try:
            admin.create_topics([NewTopic(topic, partitions, 1, config={"cleanup.policy": "compact"})])[topic].result()
        except KafkaException:
            return False
        return True

    wait_until(created, "the topic of window state")


def add_partition(stage: Stage) -> None:
    admin, topic = admin_client(client_config(stage.bootstrap)), stage.pipeline.topics["window_state"]
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result()


def delete_group(stage: Stage) -> None:
    admin, group = admin_client(client_config(stage.bootstrap)), f"hazardstream-{stage.pipeline.name}"
    wait_until(lambda: not admin.delete_consumer_groups([group])[group].exception(), "the group is gone")


def said_lost(worker: Worker) -> set[int]:
    """Partitions of which the worker says that their window state was deleted, and what to do."""
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if "window state was deleted" in line]
    assert all("reset the group" in line["advice"] for line in lines)
    assert worker.metric("hazardstream_topics_recreated_total", role="window_state") == len(lines)
    return {line["partition"] for line in lines}


def run(stage: Stage, part: int, before: Callable[[Worker], None] = Worker.await_ready) -> set[int]:
    """Score another part of the events by a new worker; gives what it says is lost."""
    with stage.worker() as worker:
        before(worker)
        stage.publish(islice(events(10 * PART), part * PART, (part + 1) * PART))
        wait_until(lambda: stage.outcomes() >= (part + 1) * PART, "all outcomes")
        lost = said_lost(worker)
        assert worker.stop() == 0
    return lost


def test_lost_window_state_is_never_taken_for_none(activity: Stage) -> None:
    assert run(activity, 0) == set()
    assert run(activity, 1) == set()

    delete_records(activity, "window_state", [0])
    assert run(activity, 2) == {0}

    create_again(activity, partitions=1)

    def await_advice(worker: Worker) -> None:
        worker.await_reason("window-state has 1", "--partitions 2")
        add_partition(activity)
        worker.await_ready()

    assert run(activity, 3, await_advice) == {0, 1}

    def lose_it_at_work(worker: Worker) -> None:
        worker.await_ready()
        create_again(activity, partitions=2)

    run(activity, 4, lose_it_at_work)
    assert run(activity, 5) == {0, 1}
    assert run(activity, 6) == set()

    delete_group(activity)
    assert run(activity, 7) == set()
    delete_group(activity)
    create_again(activity, partitions=2)
    assert run(activity, 8) == {0, 1}
