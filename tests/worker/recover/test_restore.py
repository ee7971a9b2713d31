"""Windows are rebuilt from the log as they were: with clocks that lag, on the move, and with a log that is short."""

import itertools
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import START_MS, STOPS_ITSELF, Stage, Worker, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run, uninterrupted_run
from worker.kafka.client_config import admin_client, client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

HOUR_MS = 3_600_000


def devices_with_clocks_of_their_own(steps: int) -> Iterator[dict[str, Any]]:
    """A reading of each of eight devices at a time: one clock is right, some are hours behind, drift or jump."""
    for step in range(steps):
        for device in range(8):
            behind_ms = device * HOUR_MS + (step * 500 if device == 3 else 0)
            if device == 5 and step > steps // 2:
                behind_ms -= 2 * HOUR_MS
            temperature_c = 25.0 + device + (step % 17) / 10
            yield reading(f"d{device}", START_MS + step * 10_000 - behind_ms, avg_surface_temp_c=temperature_c)


def test_devices_whose_clocks_are_hours_behind(stage: Stage) -> None:
    stage.publish_readings(devices_with_clocks_of_their_own(500))
    for _ in range(3):
        with stage.worker(STOPS_ITSELF, batch_max_messages="40") as worker:
            worker.await_stopped()
            worker.kill()
    expected = expected_outcomes(stage)
    assert 0 < stage.outcomes() < expected, "it had already finished: the kills were not in mid-stream"
    with stage.worker() as worker:
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
        assert worker.metric("hazardstream_restored_readings_total") > 0
        assert worker.metric("hazardstream_restore_incomplete_total") == 0
    in_window = assert_equals_uninterrupted_run(stage).in_window
    assert max(in_window.values()) == 60


def test_a_log_that_no_longer_reaches_back_far_enough(stage: Stage) -> None:
    stage.publish_readings(reading(f"m{i % 6}", START_MS + i // 6 * 10_000) for i in range(6 * 200))
    with stage.worker() as worker:
        worker.await_scored(1200)
        assert worker.stop() == 0
    # Retention leaves some thirty readings of each module.
    topic = stage.pipeline.input.topic
    ends = {n: sum(m.partition() == n for m in stage.committed("input")) for n in (0, 1)}
    before = {n: int(end * 0.85) for n, end in ends.items()}
    admin = admin_client(client_config(stage.bootstrap))
    for deleted in admin.delete_records([TopicPartition(topic, n, low) for n, low in before.items()]).values():
        deleted.result()
    stage.publish_readings(reading(f"m{i % 6}", START_MS + (200 + i // 6) * 10_000) for i in range(6 * 60))
    with stage.worker() as worker:
        worker.await_scored(360)
        assert worker.metric("hazardstream_restore_incomplete_total") == 2
        worker.await_ready()
        assert worker.stop() == 0
    # What is left of the log is what there is to know.
    known = uninterrupted_run(stage)
    records = [r for r in stage.records("predictions") if r["source_offset"] >= ends[r["source_partition"]]]
    assert len(records) == 360
    at = {(r["source_partition"], r["source_offset"]): r for r in records}
    assert {a: r["readings_in_window"] for a, r in at.items()} == {a: known.in_window[a] for a in at}
    assert {a: r["hazard_probability"] for a, r in at.items()} == {a: known.probability[a] for a in at}
    in_window = [r["readings_in_window"] for r in records if r["module_id"] == "m0"]
    assert 25 < in_window[0] < 40
    assert in_window[-1] == 60
    assert all(later - earlier in {0, 1} for earlier, later in itertools.pairwise(in_window))


def crawl(worker: Worker) -> None:
    """Let a worker held by SIGSTOP run for a moment: long enough for heartbeats, too short to get far."""
    worker.process.send_signal(signal.SIGCONT)
    time.sleep(0.02)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)


def gives_up_a_partition(worker: Worker) -> bool:
    crawl(worker)
    return "partition given up" in worker.log.read_text()


def test_a_partition_that_moves_on_while_it_is_being_rebuilt(stage: Stage) -> None:
    content = fleet_content(stage)
    stage.publish(content[: len(content) // 2])
    with stage.worker(instance_id="w1") as worker:
        worker.await_consumed(len(content) // 2)
        assert worker.stop() == 0
    stage.publish(content[len(content) // 2 :])
    # One message at a time makes the rebuild slow, and the first worker crawls through it until another one comes in.
    with stage.worker(instance_id="w1", batch_max_messages="1", session_timeout_ms="6000") as first:
        first.await_reason("rebuilding its windows")
        first.process.send_signal(signal.SIGSTOP)
        with stage.worker(instance_id="w2") as second:
            wait_until(lambda: "joining the group" in second.log.read_text(), "the second one to join")
            wait_until(lambda: gives_up_a_partition(first), "a partition to move")
            first.process.send_signal(signal.SIGCONT)
            given = re.search(r'"partition": (\d).*"next_offset": (\d+).*given up', first.log.read_text())
            assert given
            taken = re.search(rf'"partition": {given[1]}, .*"live_from": (\d+)', first.log.read_text())
            assert taken
            assert int(given[2]) < int(taken[1]), "it moved when its rebuild had already ended"
            expected = expected_outcomes(stage)
            wait_until(lambda: stage.outcomes() >= expected, "all outcomes", 120)
            assert second.metric("hazardstream_restored_readings_total") > 0
            assert second.metric("hazardstream_restore_duration_seconds_count") >= 1
    assert_equals_uninterrupted_run(stage)
