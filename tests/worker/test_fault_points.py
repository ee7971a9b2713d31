"""Kill -9 at any point of the code, again and again: the committed output is that of one uninterrupted run."""

import pytest

from tests.fault_points import POINTS
from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import Stage, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

FAULT_POINTS = ("-m", "tests.fault_points")
# Each worker dies in an early batch: small ones, for all of them to die before the input is at its end.
SETTINGS = {"batch_max_messages": "50", "session_timeout_ms": "6000"}

TAKING_OVER = [
    "merged:30",  # so that there is something to take over
    *("assigning:1", "assigned:1", "committed-offset-read:1", "alarm-state-read:1", "alarm-state-read:2"),
    *("resuming:1", "resuming:2", "replaying:1", "replaying:7", "consumed:3", "assigned:1", "replaying:15"),
]
BEFORE_PUBLISHING = [
    *("consumed:1", "decoded:2", "validated:3", "features-made:2", "scored:3", "alarms-staged:2", "encoded:1"),
    *("encoded:3", "before-begin:2", "begun:1", "begun:3"),
]
PUBLISHING = [
    *("predictions-queued:3", "predictions-sent:1", "predictions-sent:4", "record-sent:1", "record-sent:3"),
    *("before-offsets:2", "during-offsets:1", "during-offsets:3", "offsets-sent:2", "before-commit:3"),
]
COMMITTING = [
    *("during-commit:1", "during-commit:2", "during-commit:3", "committed:1", "committed:3"),
    *("before-merge:1", "before-merge:3", "merged:1", "merged:4"),
]
# tests/worker/test_window_state_fault_points.py
OF_CHURN = {
    *("window-state-part-read", "window-state-read", "aggregates-staged", "window-state-encoded"),
    "plain-model-asked",
}
INSTRUCTIONS = [[f"instruction:{seed}" for seed in range(start, start + 8)] for start in (0, 100)]


def die_of_each(stage: Stage, faults: list[str]) -> str:
    with stage.worker((*FAULT_POINTS, *faults), **SETTINGS) as workers:
        returned = workers.process.wait(280)
        said = workers.log.read_text()
        assert returned == 0, said[-3000:]
    return said


@pytest.mark.parametrize(
    "faults",
    [TAKING_OVER, BEFORE_PUBLISHING, PUBLISHING, COMMITTING, *INSTRUCTIONS],
    ids=["taking-over", "before-publishing", "publishing", "committing", "instructions-0", "instructions-100"],
)
def test_workers_killed_one_after_another_lose_and_double_nothing(stage: Stage, faults: list[str]) -> None:
    stage.publish(fleet_content(stage))
    die_of_each(stage, faults)
    expected = expected_outcomes(stage)
    assert stage.outcomes() < expected, "it had already finished: the kills were not in mid-stream"
    with stage.worker(session_timeout_ms="6000"):
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
    assert_equals_uninterrupted_run(stage)


def test_a_worker_killed_while_it_gives_a_partition_away(stage: Stage) -> None:
    content = fleet_content(stage)
    half = len(content) // 2
    stage.publish(content[:half])
    with stage.worker((*FAULT_POINTS, "revoking:1"), instance_id="w1", **SETTINGS) as first:
        wait_until(lambda: first.metric("hazardstream_scored_total") > 0, "the first one is at work")
        with stage.worker(instance_id="w2", session_timeout_ms="6000"):
            assert first.process.wait(120) == 0, first.log.read_text()[-3000:]
            stage.publish(content[half:])
            expected = expected_outcomes(stage)
            wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
    assert_equals_uninterrupted_run(stage)


def test_every_point_is_died_at() -> None:
    used = {fault.split(":")[0] for fault in [*TAKING_OVER, *BEFORE_PUBLISHING, *PUBLISHING, *COMMITTING]}
    assert used | {"revoking"} | OF_CHURN == set(POINTS)
