"""Who takes over from whom, how soon, and what stands in the way."""

import signal
import time
from itertools import product

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import START_MS, Stage, avro, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.kafka.client_config import admin_client, client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

REBUILT_STEPS = 180  # two spans of 15 minutes at a reading each 10 s


def test_a_successor_of_a_killed_worker_scores_within_10_s_at_a_thousand_modules(stage: Stage) -> None:
    """Without waiting for the dead one's session: it takes its place as a static member of the same name."""
    names = [f"Module{i:04d}" for i in range(1000)]
    history = [reading(m, START_MS + i * 10_000) for i, m in product(range(REBUILT_STEPS), names)]
    stage.publish_readings(history)
    with stage.worker(session_timeout_ms="45000") as worker:
        worker.await_consumed(len(history))
        worker.kill()
    seconds = list[float]()
    while len(seconds) < 3 and not any(s < 10 for s in seconds):  # other tests share the cores, and do not always
        now_ms = START_MS + (REBUILT_STEPS + len(seconds)) * 10_000
        stage.publish_readings(reading(m, now_ms) for m in names)
        with stage.worker(session_timeout_ms="45000") as successor:
            successor.await_scored(len(names))
            seconds.append(successor.metric("hazardstream_start_to_first_commit_seconds"))
            assert successor.metric("hazardstream_restored_readings_total") >= len(history)
            assert successor.metric("hazardstream_restore_duration_seconds_count") == stage.partitions
            successor.kill()
        assert {r["readings_in_window"] for r in stage.records("predictions") if r["ts"] == now_ms} == {60}
    assert 0 < min(seconds) < 10


def test_a_worker_without_a_name_gives_its_partitions_up_when_it_is_stopped(stage: Stage) -> None:
    with stage.worker(instance_id="", session_timeout_ms="45000") as first:
        first.await_ready()
        assert first.stop() == 0
        stopped = time.monotonic()
        with stage.worker(instance_id="", session_timeout_ms="45000") as second:
            second.await_ready()
            assert time.monotonic() - stopped < 30


def test_a_worker_held_up_for_longer_than_its_session_and_its_transaction_goes_on(stage: Stage) -> None:
    content = fleet_content(stage)
    stage.publish(content)
    short = {"session_timeout_ms": "6000", "transaction_timeout_ms": "3000", "batch_max_messages": "20"}
    with stage.worker(instance_id="w1", **short) as worker:
        worker.await_scored(200)
        worker.process.send_signal(signal.SIGSTOP)
        with stage.worker(instance_id="w2", **short) as other:
            other.await_scored(200)
            worker.process.send_signal(signal.SIGCONT)
            expected = expected_outcomes(stage)
            wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
            worker.await_ready()
            other.await_ready()
    assert_equals_uninterrupted_run(stage)


def test_a_group_offset_beyond_the_log_is_reported_and_other_partitions_go_on(stage: Stage) -> None:
    """The topic was made anew, or an unclean election lost records: only an operator can tell which."""
    stage.publish_readings(reading(f"m{i}", START_MS) for i in range(50))
    source = stage.pipeline.input.topic
    admin = admin_client(client_config(stage.bootstrap))
    group = f"hazardstream-{stage.pipeline.name}"
    wrong = ConsumerGroupTopicPartitions(group, [TopicPartition(source, 0, 10_000)])
    admin.alter_consumer_group_offsets([wrong])[group].result()
    with stage.worker() as worker:
        wait_until(lambda: {m.partition() for m in stage.committed("predictions")} == {1}, "partition 1 is scored")
        answer = worker.get("/ready")
        assert answer is not None
        assert answer.status_code == 503
        assert "the group's offset 10000 lies beyond the end" in str(answer.json()["reasons"])
        assert "--reset-offsets" in str(answer.json()["reasons"])
        assert worker.stop() == 0


def delete_before(stage: Stage, offset: int) -> None:
    """Have retention take the input's first records."""
    topic = stage.pipeline.input.topic
    places = [TopicPartition(topic, number, offset) for number in range(stage.partitions)]
    admin = admin_client(client_config(stage.bootstrap))
    for deleted in admin.delete_records(places).values():
        deleted.result()


def publish_to_each_partition(stage: Stage, steps: range) -> None:
    for number in range(stage.partitions):
        readings = (reading(f"m{number}", START_MS + step * 10_000) for step in steps)
        stage.publish(((r["module_id"], avro(r)) for r in readings), partition=number)


def test_records_deleted_in_mid_run_before_they_were_read_are_reported_and_the_worker_goes_on(stage: Stage) -> None:
    with stage.worker(session_timeout_ms="30000") as worker:
        publish_to_each_partition(stage, range(10))
        worker.await_scored(20)
        worker.process.send_signal(signal.SIGSTOP)
        # More than a client has fetched ahead, so that it does ask for what is gone.
        publish_to_each_partition(stage, range(10, 40))
        delete_before(stage, 30)
        worker.process.send_signal(signal.SIGCONT)
        # What the broker had answered already when it was deleted is scored all the same.
        wait_until(
            lambda: len(stage.committed("predictions")) == 80 - worker.metric("hazardstream_deleted_unread_total") < 80,
            "each record is scored or told",
        )
        worker.await_ready()
        assert "deleted before they were read" in worker.log.read_text()


def test_an_offset_set_by_another_tool_below_the_begin_of_the_log(stage: Stage) -> None:
    publish_to_each_partition(stage, range(40))
    delete_before(stage, 30)
    group = f"hazardstream-{stage.pipeline.name}"
    places = [TopicPartition(stage.pipeline.input.topic, number, 10) for number in range(stage.partitions)]
    admin = admin_client(client_config(stage.bootstrap))
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])[group].result()
    with stage.worker() as worker:
        worker.await_scored(20)
        assert worker.metric("hazardstream_deleted_unread_total") == 40
