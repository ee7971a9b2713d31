"""The group's offsets are gone and outputs are there: the place is found again in them, or the operator is asked."""

from itertools import product

import pytest
from confluent_kafka import OFFSET_END, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.fleet_content import Content, expected_outcomes, fleet_content
from tests.harness import START_MS, STOPS_ITSELF, Stage, Worker, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.encode.dead_letter import ERRORS, LAST_OFFSET, REASON
from worker.kafka.client_config import admin_client, client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.fixture
def admin(stage: Stage) -> AdminClient:
    return admin_client(client_config(stage.bootstrap))


@pytest.fixture
def group(stage: Stage) -> str:
    return f"hazardstream-{stage.pipeline.name}"


def offsets(admin: AdminClient, group: str) -> list[TopicPartition]:
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    return list(asked[group].result().topic_partitions)


def forget(admin: AdminClient, group: str) -> None:
    wait_until(lambda: admin.delete_consumer_groups([group])[group].exception() is None, "the group is gone")


def await_done(worker: Worker, messages: int) -> None:
    """Wait until that many messages have an outcome."""
    counts = ("scored_total", "dead_letters_total", "deduplicated_total")
    wait_until(lambda: sum(worker.metric(f"hazardstream_{name}") for name in counts) >= messages, "all is scored")


def score(stage: Stage, content: Content, recovered: int, **settings: str) -> None:
    """Publish, and have a worker score it that leaves the group at once when it is stopped."""
    stage.publish(content)
    with stage.worker(instance_id="", **settings) as worker:
        await_done(worker, len(content))
        assert worker.metric("hazardstream_offsets_recovered_total") == recovered
        assert ("the committed offset is gone" in worker.log.read_text()) == (recovered > 0)
        assert worker.stop() == 0


def test_a_partition_goes_on_behind_its_newest_outcome(stage: Stage, admin: AdminClient, group: str) -> None:
    content = fleet_content(stage, steps=200)
    cut = [len(content) * tenths // 10 for tenths in (3, 6, 9)]
    # Duplicates at the end have no outcome: they are found to be duplicates again.
    score(stage, content[: cut[0]] + content[cut[0] - 3 : cut[0]] * 2, recovered=0)
    forget(admin, group)
    score(stage, content[cut[0] : cut[1]], recovered=2)
    # Only one partition has lost its offset.
    kept = [place for place in offsets(admin, group) if place.partition == 0]
    forget(admin, group)
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, kept)])[group].result()
    score(stage, content[cut[1] : cut[2]], recovered=1)
    # To another group, the outputs say the same.
    assert any(state.active for state in stage.alarm_states().values()), "no alarm stands that could be raised again"
    score(stage, content[cut[2] :], recovered=2, group_id=f"{stage.pipeline.name}-other")
    assert_equals_uninterrupted_run(stage)


def test_a_killed_worker_whose_group_is_deleted(stage: Stage, admin: AdminClient, group: str) -> None:
    content = fleet_content(stage, steps=100)
    stage.publish(content)
    settings = {"instance_id": "", "batch_max_messages": "20", "session_timeout_ms": "6000"}
    with stage.worker(STOPS_ITSELF, **settings) as worker:
        worker.await_stopped()
        worker.kill()
    forget(admin, group)
    expected = expected_outcomes(stage)
    assert 0 < stage.outcomes() < expected, "it had already finished: the kill was not in mid-stream"
    with stage.worker(instance_id="") as worker:
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
        assert worker.metric("hazardstream_offsets_recovered_total") >= 1
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_a_partition_whose_only_transaction_was_aborted_starts_at_the_beginning(stage: Stage) -> None:
    """As after a first batch that a rebalance or a kill undid: the group never had an offset of it."""
    producer = Producer(client_config(stage.bootstrap) | {"transactional.id": f"{stage.pipeline.name}-undone"})
    producer.init_transactions(30.0)
    producer.begin_transaction()
    for role in ("predictions", "alarm_state"):
        producer.produce(stage.pipeline.topics[role], b"undone", b"key", partition=1)
    producer.flush(30.0)
    producer.abort_transaction(30.0)
    score(stage, fleet_content(stage, steps=20), recovered=0)
    assert_equals_uninterrupted_run(stage)


def test_what_strangers_write_behind_the_newest_outcome_is_passed_over(
    stage: Stage, admin: AdminClient, group: str
) -> None:
    readings = [reading(f"m{n % 8}", START_MS + n // 8 * 10_000) for n in range(160)]
    stage.publish_readings(readings[:80])
    with stage.worker(instance_id="") as worker:
        await_done(worker, 80)
        assert worker.stop() == 0
    forget(admin, group)
    topics = stage.pipeline.topics
    strangers = 1100  # further back than is looked at first
    letter = [(REASON, b"unreadable"), (ERRORS + "topic", b"another"), (LAST_OFFSET, b"9" * 5000)]
    letter += [(ERRORS + "partition", b"0"), (ERRORS + "offset", b"99999")]
    ours = [*letter, (ERRORS + "topic", topics["input"].encode()), (ERRORS + "offset", b"1")]
    producer = Producer(client_config(stage.bootstrap))
    for partition in (0, 1):
        for n in range(strangers):
            value = (None, b"noise", b"{}", b"\xc3\x01" + bytes(20))[n % 4]
            producer.produce(topics["predictions"], value, partition=partition)
        for role, headers in product(("alarms", "dead_letters"), ([], letter, ours)):
            producer.produce(topics[role], b"noise", partition=partition, headers=headers)
    assert producer.flush(30) == 0
    stage.publish_readings(readings[80:])
    with stage.worker(instance_id="") as worker:
        await_done(worker, 80)
        worker.await_ready()
        assert worker.metric("hazardstream_offsets_recovered_total") == 2
        assert worker.stop() == 0
    assert len(stage.committed("predictions")) == 160 + 2 * strangers
    # Whether this one is ours, only the registry could have told, and it knows no such schema.
    forget(admin, group)
    producer.produce(topics["predictions"], b"\0\0\0\x30\x39" + bytes(20), partition=1)
    assert producer.flush(30) == 0
    with stage.worker(instance_id="") as worker:
        (reason,) = wait_until(lambda: [r for r in worker.reasons_not_ready() if "cannot tell" in r], "the reason")
        assert reason.startswith("partition 1 is waiting")
        assert "12345" in reason
        assert worker.stop() == 0


def test_readings_that_retention_deleted_behind_the_newest_outcome_count_as_lost(
    stage: Stage, admin: AdminClient, group: str
) -> None:
    stage.publish_readings(reading("m", START_MS + n * 10_000) for n in range(20))
    with stage.worker(instance_id="") as worker:
        await_done(worker, 20)
        assert worker.stop() == 0
    forget(admin, group)
    stage.publish_readings(reading("m", START_MS + n * 10_000) for n in range(20, 27))
    source = stage.pipeline.input.topic
    for deleted in admin.delete_records([TopicPartition(source, n, OFFSET_END) for n in range(2)]).values():
        deleted.result()
    with stage.worker(instance_id="") as worker:
        worker.await_ready()
        assert worker.metric("hazardstream_deleted_unread_total") == 7
        stage.publish_readings([reading("m", START_MS + 270_000)])
        worker.await_scored(1)
        assert worker.stop() == 0
    assert len(stage.records("predictions")) == 21


def test_outputs_that_were_deleted_cannot_tell_and_the_operator_decides(
    stage: Stage, admin: AdminClient, group: str
) -> None:
    readings = [reading(f"m{n % 8}", START_MS + n // 8 * 10_000) for n in range(400)]
    stage.publish_readings(readings[:200])
    with stage.worker(instance_id="") as worker:
        await_done(worker, 200)
        assert worker.stop() == 0
    committed = {place.partition: place.offset for place in offsets(admin, group)}
    forget(admin, group)
    predictions = stage.pipeline.outputs.predictions.topic
    for deleted in admin.delete_records([TopicPartition(predictions, 1, OFFSET_END)]).values():
        deleted.result()
    stage.publish_readings(readings[200:])
    with stage.worker(instance_id="") as worker:
        reasons = wait_until(lambda: [r for r in worker.reasons_not_ready() if "cannot tell" in r], "the reason")
        assert len(reasons) == 1
        assert reasons[0].startswith("partition 1 is waiting: the group has no offset of ")
        assert "kafka-consumer-groups.sh" in reasons[0]
        # The other partition goes on.
        wait_until(lambda: worker.metric("hazardstream_scored_total") > 0, "partition 0 is scored")
        assert worker.stop() == 0
    # The command of the reason, as an admin client says it.
    forget(admin, group)
    topic = stage.pipeline.input.topic
    decided = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, committed[1])])
    admin.alter_consumer_group_offsets([decided])[group].result()
    with stage.worker(instance_id="") as worker:
        in_second = sum(message.partition() == 1 for message in stage.committed("input"))
        wait_until(
            lambda: sum(m.partition() == 1 for m in stage.committed("predictions")) == in_second - committed[1],
            "what the operator asked for",
        )
        worker.await_ready()
