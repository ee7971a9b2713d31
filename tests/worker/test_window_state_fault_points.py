"""Kill -9 at any point, with aggregates over days: the committed output is that of one uninterrupted run."""

from itertools import islice

import pytest

from local.audit import read
from tests.activity import activity_model, activity_stage, events
from tests.harness import Stage, wait_until
from worker.consume.message_columns import batch_of
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

WORKER = ("-m", "tests.activity_worker")
SETTINGS = {"batch_max_messages": "40", "session_timeout_ms": "6000"}
FAULTS = [
    *("merged:3", "assigned:1", "committed-offset-read:1", "window-state-part-read:1", "window-state-read:1"),
    *("window-state-read:2", "resuming:1", "consumed:2", "validated:1", "aggregates-staged:2", "encoded:1"),
    *("window-state-encoded:2", "begun:2", "predictions-queued:1", "predictions-sent:2", "predictions-sent:3"),
    *("before-offsets:1", "offsets-sent:2", "before-commit:1", "during-commit:2", "committed:1", "before-merge:2"),
    *("merged:2", *(f"instruction:{seed}" for seed in range(4))),
]


@pytest.fixture
def activity(kafka: str, topic_prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The pipeline of `tests.activity` on topics of this test's own."""
    return activity_stage(kafka, topic_prefix.rstrip("."), tmp_path_factory.mktemp("activity"))


def uninterrupted(stage: Stage) -> dict[tuple[int, int], float]:
    """The value of each reading by partition and offset, of one scorer that sees the whole input at once."""
    pipeline, partitions = stage.pipeline, {n: Partition(n, 0, 0) for n in range(stage.partitions)}
    scorer = scorer_of(pipeline, activity_model(pipeline), None, stage.writer_schema_of)
    batch = batch_of(list(read(pipeline.input.topic, stage.bootstrap)))
    scored = scorer.process(batch, partitions).scored
    addresses = zip(scored.origin.partition.tolist(), scored.origin.offset.tolist(), strict=True)
    return dict(zip(addresses, scored.prediction.value.tolist(), strict=True))


def test_workers_killed_one_after_another_count_each_event_once(activity: Stage) -> None:
    activity.publish(islice(events(4000), 4000))
    with activity.worker((*WORKER, *FAULTS), **SETTINGS) as workers:
        returned = workers.process.wait(280)
        assert returned == 0, workers.log.read_text()[-3000:]
    expected = uninterrupted(activity)
    assert len(expected) == 4000
    assert activity.outcomes() < len(expected), "it had already finished: the kills were not in mid-stream"
    with activity.worker(WORKER, session_timeout_ms="6000"):
        wait_until(lambda: activity.outcomes() >= len(expected), "all outcomes")
    found = [((r["source_partition"], r["source_offset"]), r["value"]) for r in activity.stream("predictions")]

    assert len(found) == len(expected)
    assert dict(found) == expected


def test_a_successor_of_another_set_of_partitions_goes_on_with_the_same_state(activity: Stage) -> None:
    half = 1000
    activity.publish(islice(events(2 * half), half))
    with activity.worker(WORKER, instance_id="w1", **SETTINGS) as first:
        first.await_scored(1)
        with activity.worker(WORKER, instance_id="w2", **SETTINGS):
            activity.publish(islice(events(2 * half), half, 2 * half))
            wait_until(lambda: activity.outcomes() >= half, "half of the outcomes")
            first.kill()
            wait_until(lambda: activity.outcomes() >= 2 * half, "all outcomes")
    found = {(r["source_partition"], r["source_offset"]): r["value"] for r in activity.stream("predictions")}

    assert found == uninterrupted(activity)
