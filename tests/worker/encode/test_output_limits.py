"""Batches of records fit the topics they are written to, whatever their limits are and become."""

import time

import pytest

from tests.harness import START_MS, Stage, reading
from tests.topic_settings import set_topic
from tests.uninterrupted import assert_equals_uninterrupted_run

LIMITS_UNTOLD = (
    "import worker.encode.output_limits as o; o.topic_settings = lambda _, topics: {topic: {} for topic in topics};"
    "import hazardstream.cli; hazardstream.cli.main()"
)


def publish(stage: Stage, start: int, modules: int = 40, each: int = 25) -> int:
    """Publish readings of a few modules; returns how many."""
    stage.publish_readings(
        reading(f"m{m}", START_MS + (start + t) * 10_000) for t in range(each) for m in range(modules)
    )
    return modules * each


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_batches_fit_the_smallest_limit_of_the_outputs_and_a_limit_that_is_lowered_later(stage: Stage) -> None:
    set_topic(stage, "predictions", max_message_bytes=4000)
    with stage.worker() as worker:
        worker.await_ready()
        count = publish(stage, 0)
        worker.await_scored(count)
        assert worker.metric("hazardstream_transactions_aborted_total") == 0
        set_topic(stage, "predictions", max_message_bytes=1500)
        count += publish(stage, 100)
        worker.await_scored(count)
        assert worker.metric("hazardstream_transactions_aborted_total") <= 2
        worker.await_ready()
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_batch_too_large_for_a_limit_that_the_broker_does_not_tell_is_split(stage: Stage) -> None:
    set_topic(stage, "predictions", max_message_bytes=4000)
    with stage.worker(launcher=("-c", LIMITS_UNTOLD)) as worker:
        worker.await_ready()
        worker.await_scored(publish(stage, 0))
        assert worker.metric("hazardstream_transactions_aborted_total") > 0
        assert worker.metric("hazardstream_restarts_total") == 0
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_record_that_fits_in_no_batch_is_reported_with_topic_and_fix_and_goes_out_after_it(stage: Stage) -> None:
    set_topic(stage, "predictions", max_message_bytes=150)
    with stage.worker() as worker:
        worker.await_ready()
        count = publish(stage, 0, each=2)
        topic = stage.pipeline.topics["predictions"]
        cure = f"--topic {topic} --add-config max.message.bytes="
        worker.await_reason(cure)
        aborts = worker.metric("hazardstream_transactions_aborted_total")
        for _ in range(10):  # and stays told: nothing of the kind is ready for a moment in between
            assert cure in str(worker.reasons_not_ready())
            time.sleep(0.1)
        assert worker.metric("hazardstream_transactions_aborted_total") <= aborts + 2
        set_topic(stage, "predictions", max_message_bytes=None)
        worker.await_scored(count)
        worker.await_ready()
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
