"""Topics that change under a running worker: the input is created again, partitions are added."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from tests.harness import START_MS, Stage, avro, reading, wait_until
from worker.kafka.client_config import admin_client, client_config

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


def test_letters_of_a_former_topic_take_nothing_from_the_windows_of_the_new_one(
    stage: Stage, admin: AdminClient
) -> None:
    for number in (0, 1):
        stage.publish([(b"m", b"noise")] * 20, partition=number)
    with stage.worker() as worker:
        worker.await_consumed(40)
        assert worker.stop() == 0
    create_again(admin, stage.pipeline.input.topic)
    stage.publish_readings(readings(0, 4))
    with stage.worker() as worker:
        worker.await_scored(40)
        assert worker.stop() == 0
    stage.publish_readings(readings(4, 1))
    with stage.worker() as worker:
        worker.await_scored(10)
        assert worker.stop() == 0
    newest = [r for r in stage.records("predictions") if r["ts"] == START_MS + 40_000]
    assert [r["readings_in_window"] for r in newest] == [5] * 10


def test_partitions_that_outputs_lack_are_named_and_the_others_go_on(stage: Stage, admin: AdminClient) -> None:
    topic = stage.pipeline.input.topic
    outputs = sorted(set(stage.pipeline.topics.values()) - {topic})
    with stage.worker() as worker:
        worker.await_ready()
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
        reason = worker.await_reason("partition 2", timeout_s=20)
        for output in outputs:
            assert f"{output} has 2" in reason
            assert "hazardstream topics create --partitions 3 --add-partitions" in reason
        stage.publish((r["module_id"], avro(r)) for r in readings(0, 6))
        in_each = Counter(message.partition() for message in stage.committed("input"))
        assert in_each.keys() == {0, 1, 2}
        worker.await_scored(in_each[0] + in_each[1])
        for made in admin.create_partitions([NewPartitions(output, 3) for output in outputs]).values():
            made.result()
        worker.await_scored(60)
        worker.await_ready()
        assert worker.stop() == 0
    assert scored_times(stage) == times(readings(0, 6))


def test_an_idle_group_commits_what_is_behind_its_last_message(stage: Stage, admin: AdminClient) -> None:
    """As what scales by lag sees it: committed offset against the end of the log, markers and aborted records too."""
    topic = stage.pipeline.input.topic
    producer = Producer(client_config(stage.bootstrap) | {"transactional.id": topic})
    producer.init_transactions(30)

    def publish(step: int, *, abort: bool = False) -> None:
        producer.begin_transaction()
        for record in readings(step, 1):
            producer.produce(topic, avro(record), record["module_id"])
        producer.flush(30)
        (producer.abort_transaction if abort else producer.commit_transaction)(30)

    group = ConsumerGroupTopicPartitions(f"hazardstream-{stage.pipeline.name}")

    def lag() -> int:
        places = admin.list_consumer_group_offsets([group])[group.group_id].result().topic_partitions
        ends = admin.list_offsets({TopicPartition(topic, n): OffsetSpec.latest() for n in (0, 1)})
        committed = {place.partition: place.offset for place in places}
        return sum(end.result().offset - committed.get(place.partition, 0) for place, end in ends.items())

    publish(0)
    publish(1, abort=True)
    with stage.worker() as worker:
        worker.await_scored(10)
        wait_until(lambda: lag() == 0, "no lag", 20)
        assert worker.stop() == 0
    # A rebuild that ends behind the last message ends all the same, and what comes next is scored on.
    with stage.worker() as worker:
        worker.await_ready()
        assert worker.metric("hazardstream_restored_readings_total") == 10
        publish(2)
        worker.await_scored(10)
        wait_until(lambda: lag() == 0, "no lag", 20)
        assert worker.stop() == 0
    assert scored_times(stage) == times(readings(0, 1), readings(2, 1))
    assert {r["readings_in_window"] for r in stage.records("predictions")} == {1, 2}
