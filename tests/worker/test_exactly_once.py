"""Whatever is stopped or killed, the committed output is that of one uninterrupted run."""

import signal

import pytest

from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import STOPS_ITSELF, Stage, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run, uninterrupted_run

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def test_every_reading_is_scored_once_and_in_order(stage: Stage) -> None:
    content = fleet_content(stage)
    stage.publish(content)
    with stage.worker() as worker:
        worker.await_consumed(len(content))
        assert worker.stop() == 0
    expected = assert_equals_uninterrupted_run(stage)
    assert len(expected.probability) + len(expected.rejected) + expected.deduplicated == len(content)
    assert {"malformed", "wrong_key", "null_value", "future", "late"} == set(expected.rejected.values())
    assert [kind for _, _, kind, _ in expected.transitions].count("ACTIVE") >= 1


def test_sigterm_in_mid_stream_loses_and_doubles_nothing(stage: Stage) -> None:
    stage.publish(fleet_content(stage))
    with stage.worker(STOPS_ITSELF, batch_max_messages="20") as worker:
        worker.await_stopped()
        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGCONT)
        assert worker.process.wait(60) == 0
    expected = expected_outcomes(stage)
    assert 0 < stage.outcomes() < expected, "it had already finished: the stop was not in mid-stream"
    with stage.worker() as successor:
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
        assert successor.metric("hazardstream_restored_readings_total") > 0
        assert successor.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_kill_in_mid_stream_loses_and_doubles_nothing(stage: Stage) -> None:
    content = fleet_content(stage)
    stage.publish(content)
    for _ in range(3):
        # A session of its own length: the successor must not wait for the dead one's.
        with stage.worker(STOPS_ITSELF, batch_max_messages="20", session_timeout_ms="6000") as worker:
            worker.await_stopped()
            worker.kill()
    expected = expected_outcomes(stage)
    assert 0 < stage.outcomes() < expected, "it had already finished: the kills were not in mid-stream"
    with stage.worker(session_timeout_ms="6000"):
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
    assert_equals_uninterrupted_run(stage)


def test_workers_that_come_and_go_share_the_partitions(stage: Stage) -> None:
    content = fleet_content(stage)
    third = len(content) // 3
    stage.publish(content[:third])
    with stage.worker(instance_id="w1") as first:
        first.await_consumed(third // 2)
        with stage.worker(instance_id="w2") as second:
            second.await_ready()
            stage.publish(content[third : 2 * third])
            second.await_consumed(third // 4)
            assert first.stop() == 0
            stage.publish(content[2 * third :])
            expected = expected_outcomes(stage)
            wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
            assert second.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_a_second_worker_of_the_same_name_fences_the_first(stage: Stage) -> None:
    with stage.worker(instance_id="same") as first:
        first.await_ready()
        with stage.worker(instance_id="same", group_id="") as second:
            wait_until(lambda: "joining the group" in second.log.read_text(), "the second one is at work")
            stage.publish(fleet_content(stage, steps=20))
            assert first.process.wait(60) == 2
            assert "give each worker its own --instance-id" in first.log.read_text()
            second.process.send_signal(signal.SIGTERM)
            second.process.wait(60)


def test_how_the_stream_is_cut_into_batches_does_not_matter(stage: Stage) -> None:
    stage.publish(fleet_content(stage))
    assert uninterrupted_run(stage, at_a_time=37) == uninterrupted_run(stage)
