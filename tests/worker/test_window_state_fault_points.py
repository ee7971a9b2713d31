"""Kill -9 at any point, on the pipeline churn: the committed output is that of one uninterrupted run."""

import pytest

from tests.churn import churn_events, churn_stage, compare_with_uninterrupted_run
from tests.fault_points import POINTS
from tests.harness import Stage, wait_until
from worker.alarms.alarms import MODEL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

FAULT_POINTS = ("-m", "tests.fault_points")
SETTINGS = {"batch_max_messages": "20", "session_timeout_ms": "6000"}
FAULTS = [
    *("merged:3", "assigning:1", "assigned:1", "committed-offset-read:1", "window-state-part-read:1"),
    *("alarm-state-read:1", "window-state-read:1", "window-state-read:2", "resuming:1", "consumed:2", "decoded:1"),
    *("validated:1", "aggregates-staged:2", "plain-model-asked:1", "alarms-staged:2", "encoded:1"),
    *("window-state-encoded:2", "before-begin:1", "begun:2", "predictions-queued:1", "predictions-sent:2"),
    *("record-sent:1", "before-offsets:1", "during-offsets:1", "offsets-sent:2", "before-commit:1"),
    *("during-commit:2", "committed:1", "before-merge:2", "merged:2", *(f"instruction:{seed}" for seed in range(4))),
]
OF_SHORT_WINDOWS_AND_PACKAGES = {"replaying", "features-made", "scored"}


@pytest.fixture
def churn(kafka: str, unique_name: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The pipeline on topics of this test's own."""
    return churn_stage(kafka, unique_name, tmp_path_factory.mktemp("churn"))


def assert_equals_uninterrupted_run(churn: Stage) -> None:
    found, transitions = compare_with_uninterrupted_run(churn)
    assert not any(found.faults.values()), "\n".join([str(found.faults), *found.examples])
    assert transitions.keys() == {MODEL, "quiet", "watching"}
    assert min(transitions.values()) > 20


def test_workers_killed_one_after_another_count_each_event_once(churn: Stage) -> None:
    events = churn_events(churn.pipeline)
    churn.publish(events)
    with churn.worker((*FAULT_POINTS, *FAULTS), **SETTINGS) as workers:
        returned = workers.process.wait(380)
        assert returned == 0, workers.log.read_text()[-3000:]
    assert churn.outcomes() < len(events), "it had already finished: the kills were not in mid-stream"
    with churn.worker(session_timeout_ms="6000"):
        wait_until(lambda: churn.outcomes() >= len(events), "all outcomes")
    assert_equals_uninterrupted_run(churn)


def test_a_worker_killed_while_it_gives_a_partition_away(churn: Stage) -> None:
    events = churn_events(churn.pipeline)
    half = len(events) // 2
    churn.publish(events[:half])
    with churn.worker((*FAULT_POINTS, "revoking:1"), instance_id="w1", **SETTINGS) as first:
        wait_until(lambda: first.metric("hazardstream_scored_total") > 0, "the first one is at work")
        with churn.worker(instance_id="w2", session_timeout_ms="6000"):
            assert first.process.wait(120) == 0, first.log.read_text()[-3000:]
            churn.publish(events[half:])
            wait_until(lambda: churn.outcomes() >= len(events), "all outcomes")
    assert_equals_uninterrupted_run(churn)


def test_every_point_is_died_at() -> None:
    used = {fault.split(":")[0] for fault in FAULTS} - {"instruction"}
    assert used | {"revoking"} | OF_SHORT_WINDOWS_AND_PACKAGES == set(POINTS)
