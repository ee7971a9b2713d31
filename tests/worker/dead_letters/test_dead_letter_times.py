"""A dead letter is as old as its writing, and still says how old its original is."""

import time

import pytest
from confluent_kafka import Producer

from tests.dlq_commands import dlq
from tests.harness import START_MS, Stage, wait_until
from tests.topic_settings import set_topic
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.encode.dead_letter import ERRORS, REASON, TIME, TIME_TYPE, letter_of
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import TopicReader
from worker.recover.replay_exclusions import replay_exclusions
from worker.windows.partition import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
LONG_AGO_MS = START_MS - 400 * 86_400_000


def test_letters_of_old_readings_outlive_the_retention_of_their_topic(stage: Stage) -> None:
    set_topic(stage, "input", message_timestamp_type="CreateTime", retention_ms=-1)
    before_ms = time.time_ns() // 1_000_000
    with stage.worker() as worker:
        worker.await_ready()  # and the broker has heeded the topic's new settings
        stage.publish([(b"m", b"noise")], timestamp=LONG_AGO_MS)
        wait_until(lambda: stage.outcomes() == 1, "the dead letter")
        assert worker.stop() == 0
    (written,) = stage.committed("dead_letters")
    assert written.timestamp()[1] >= before_ms
    told = dict(written.headers())
    assert (int(told[TIME]), told[TIME_TYPE]) == (LONG_AGO_MS, b"CreateTime")
    assert_equals_uninterrupted_run(stage)
    (row,) = dlq(stage, "list", "--to", "2026-01-01")["reasons"]
    assert row["first"] == row["last"] == "2025-04-23T20:26:40.000Z"
    assert dlq(stage, "redrive", "--yes")["redriven"] == 1
    assert [m.timestamp()[1] for m in stage.committed("input")] == [LONG_AGO_MS] * 2


@pytest.mark.parametrize("stamps", ["CreateTime", "LogAppendTime"])
def test_a_rebuild_finds_letters_of_this_version_and_of_older_ones(stage: Stage, stamps: str) -> None:
    set_topic(stage, "dead_letters", message_timestamp_type=stamps)
    stage.publish([(b"m", b"noise")] * 20, partition=0)
    inputs = stage.committed("input")
    producer = Producer(client_config(stage.bootstrap))
    # Out of the order of their originals, as letters are after a redrive.
    for offset in (3, 17, 12, 5):
        at_ms, headers = inputs[offset].timestamp()[1], [(REASON, b"malformed")]
        headers += [(ERRORS + "topic", inputs[0].topic().encode()), (ERRORS + "partition", b"0")]
        headers += [(ERRORS + "offset", b"%d" % offset)]
        older = offset % 2 == 1
        more = [] if older else [(TIME, str(at_ms).encode()), (TIME_TYPE, b"LogAppendTime")]
        own_ms = at_ms if older else at_ms + 5_000
        topic = stage.pipeline.topics["dead_letters"]
        producer.produce(topic, b"noise", b"m", partition=0, headers=headers + more, timestamp=own_ms)
        assert producer.flush(20) == 0
    assert all((letter := letter_of(m)) and letter.timestamp_ms > START_MS for m in stage.committed("dead_letters"))
    config = client_config(stage.bootstrap)
    topic_id = topic_id_of(admin_client(config), stage.pipeline.input.topic)
    with TopicReader(config) as reader:
        found = replay_exclusions(reader, stage.pipeline, topic_id, Partition(0, 4, live_from=17))
    assert found.tolist() == [5, 12]
