"""Records of window state: what a worker writes restores the same aggregates, whatever the batches were."""

from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.arrays import NEVER
from common.times import DAY_MS, HOUR_MS
from schemas.registry import writer_schema_lookup
from tests.activity import FEATURES, activity_model, activity_pipeline, event, events
from tests.aggregates import held
from worker.config.pipeline import Pipeline
from worker.encode.window_state import WindowStateOutput, parse_record_key, record_key
from worker.observe.metrics import Metrics
from worker.recover.window_state import WindowStateRestore
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.scorer import Scorer, scorer_of
from worker.windows.partition import Partition

COUNT = 600


class Record:
    """A message of the state topic, as the client gives it."""

    def __init__(self, key: bytes, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def partition(self) -> int:
        return 0


class Run:
    """A worker without Kafka: its scorer, and the compacted topic."""

    def __init__(self, pipeline: Pipeline, before: "Run | None" = None, *, registry: bool = True) -> None:
        """Of a predecessor it takes topic and position and, from a registry, the schemas."""
        self.pipeline = pipeline
        kept = before.known if before is not None and registry else {}
        self.known: dict[Any, Any] = pipeline.known_schemas | kept
        self.topic: dict[bytes, bytes | None] = {} if before is None else before.topic
        self.lookup = writer_schema_lookup(None, self.known)
        self.scorer: Scorer = scorer_of(pipeline, activity_model(pipeline), None, self.lookup)
        self.output = WindowStateOutput(pipeline, b"", lambda: "topic-id")
        at = Partition(0, 0, 0) if before is None else before.partitions[0]
        self.partitions: dict[int, Partition] = {0: Partition(0, at.next_offset, at.next_offset, at.clock)}
        self.scorer.alarms.assign(0, {})

    def score(self, batch: Batch) -> Outcome:
        outcome = self.scorer.process(batch, self.partitions)
        for records in self.output.records(outcome, {0}).bulk.values():
            for record in records:
                self.topic.pop(record["key"], None)
                self.topic[record["key"]] = record["value"]
        self.scorer.merge(outcome, self.partitions)
        return outcome

    def restarted(
        self,
        pipeline: Pipeline | None = None,
        *,
        compacted: bool = True,
        topic_id: str = "topic-id",
        registry: bool = True,
    ) -> "Run":
        """A successor, which has read the topic."""
        successor = Run(pipeline or self.pipeline, self, registry=registry)
        aggregates = successor.scorer.aggregates
        assert aggregates is not None
        restore = WindowStateRestore({}, successor.pipeline, aggregates, successor.lookup, Metrics())
        restore.begin(successor.partitions[0], range(0), "state-id", topic_id)
        left = {k: v for k, v in self.topic.items() if v is not None or not compacted}
        records = iter([Record(key, value) for key, value in left.items()])
        while some := [*islice(records, 50)]:
            restore._restore(0, some)
        restore.finish(0)
        return successor


def batches(
    sizes: Iterator[int], content: Iterable[tuple[str, bytes]] | None = None, stamped: int = 2_000_000_000_000
) -> Iterator[Batch]:
    offset, messages = 0, iter(content or events(COUNT))
    while some := [*islice(messages, next(sizes))]:
        at = np.arange(offset, offset + len(some))
        stamps = np.full(len(some), stamped)
        keys: list[bytes | None] = [key.encode() for key, _ in some]
        values: list[bytes | None] = [value for _, value in some]
        yield Batch(keys, values, np.zeros(len(some), np.int64), at, stamps, stamps * 0 + 2)
        offset += len(some)


def sizes(seed: int) -> Iterator[int]:
    choice = np.random.default_rng(seed)
    while True:
        yield int(choice.integers(1, 60))


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return activity_pipeline(tmp_path / "activity")


def scored(outcomes: list[Outcome]) -> np.ndarray:
    return np.concatenate([outcome.scored.prediction.value for outcome in outcomes])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("compacted", [True, False])
def test_restarts_change_no_bit_of_predictions_and_nothing_in_the_topic(
    pipeline: Pipeline, seed: int, compacted: bool
) -> None:
    whole, run = Run(pipeline), Run(pipeline)
    expected = scored([whole.score(batch) for batch in batches(iter([COUNT, 1]))])
    outcomes = []
    for batch in batches(sizes(seed)):
        outcomes.append(run.score(batch))
        run = run.restarted(compacted=compacted)

    np.testing.assert_array_equal(scored(outcomes), expected)
    assert len(expected) == COUNT
    assert held_by(run) == held_by(whole.restarted())


def held_by(run: Run) -> dict[tuple[bytes, int, int], Any]:
    assert run.scorer.aggregates is not None
    return held(run.scorer.aggregates, 0, run.partitions[0].clock)


def test_the_topic_holds_only_what_is_in_a_window(pipeline: Pipeline) -> None:
    run = Run(pipeline)
    for batch in batches(sizes(0)):
        run.score(batch)

    kept = {parse_record_key(key) for key, value in run.topic.items() if value is not None}
    assert {place[0] for place in kept if place} == run.scorer.aggregates._slots[0].keys()  # type: ignore[union-attr]
    assert len(kept) >= len(held_by(run))
    assert any(value is None for value in run.topic.values())


def test_stream_time_is_read_back_where_no_checkpoint_says_it(pipeline: Pipeline) -> None:
    whole, run = Run(pipeline), Run(pipeline)
    expected = scored([whole.score(batch) for batch in batches(iter([COUNT, 1]))])
    outcomes = []
    for batch in batches(sizes(4)):
        outcomes.append(run.score(batch))
        reached, run.partitions[0].clock = run.partitions[0].clock, NEVER
        run = run.restarted()
        assert run.partitions[0].clock == reached
    np.testing.assert_array_equal(scored(outcomes), expected)

    run.partitions[0] = Partition(0, 0, 0)
    assert run.restarted().partitions[0].clock == NEVER, "the offset was set back to the beginning"


def test_restarts_change_nothing_before_1970_either(pipeline: Pipeline) -> None:
    """A recording may count from its own start, and by its own Kafka timestamps."""
    whole, run = Run(pipeline), Run(pipeline)
    times = range(-20 * DAY_MS, 1, 7 * HOUR_MS)
    messages = [event("u", at, "login" if i % 5 == 0 else "watch") for i, at in enumerate((*times, 0))]
    expected = scored([whole.score(batch) for batch in batches(repeat(1), messages, stamped=0)])
    outcomes = []
    for batch in batches(repeat(1), messages, stamped=0):
        outcomes.append(run.score(batch))
        run = run.restarted()

    np.testing.assert_array_equal(scored(outcomes), expected)
    assert len(expected) == len(messages)


def test_a_record_is_counted_once_even_if_the_offset_was_set_back(pipeline: Pipeline) -> None:
    run = Run(pipeline)
    first, second = [*batches(iter([300, 300, 1]))]
    run.score(first)
    before = {k: v for k, v in run.topic.items() if v}
    again = run.restarted()
    again.partitions[0].next_offset = again.partitions[0].live_from = 0
    again.score(first)
    assert {k: v for k, v in again.topic.items() if v} == before
    np.testing.assert_array_equal(scored([again.score(second)]), scored([run.score(second)]))


def test_offsets_of_a_former_input_topic_mean_nothing(pipeline: Pipeline) -> None:
    run = Run(pipeline)
    (batch, *_) = batches(iter([300, 300, 1]))
    run.score(batch)
    again = run.restarted(topic_id="another")
    again.partitions[0].next_offset = again.partitions[0].live_from = 0
    outcome = again.score(batch)
    assert outcome.aggregated is not None
    assert sum(len(put.key) for put in outcome.aggregated.staged.written) > 0


def test_a_feature_that_is_added_counts_from_then_on(tmp_path: Path, pipeline: Pipeline, caplog: Any) -> None:
    run, more = (
        Run(pipeline),
        activity_pipeline(
            tmp_path / "more", features=FEATURES + "  - {name: quizzes, kind: count, where: {kind: quiz}, over: 7d}\n"
        ),
    )
    (first, second) = batches(iter([300, 300, 1]))
    run.score(first)
    successor = run.restarted(more)
    features, old = (r.score(second).scored.features.numbers for r in (successor, run))

    np.testing.assert_array_equal(features[:, :-1], old)
    assert features[0, -1] in {0, 1}


def test_buckets_that_no_window_needs_any_more_are_deleted(tmp_path: Path, pipeline: Pipeline) -> None:
    run = Run(pipeline)
    shorter = activity_pipeline(tmp_path / "shorter", features="\n  - {name: a, kind: count, over: 7d}\n")
    first, second = batches(iter([300, 300, 1]))
    run.score(first)
    successor = run.restarted(shorter)
    successor.score(second)
    left = [parse_record_key(key) for key, value in successor.topic.items() if value is not None]
    assert {place[1] for place in left if place} == {86_400_000}
    aggregates = successor.scorer.aggregates
    assert aggregates is not None
    slots = np.array([*aggregates._slots[0].values()])
    assert len(left) == sum(len(places.key) for places in aggregates.state.buckets(slots))


@pytest.mark.parametrize("key", [b"a", b"a|b", b"||", "Jürgen".encode(), b""])
def test_keys_of_records_are_read_back(key: bytes) -> None:
    for bucket in (29_000_000, 0, -1, -29_000_000):
        assert parse_record_key(record_key(key, 60_000, bucket)) == (key, 60_000, bucket)


@pytest.mark.parametrize(
    "text", [b"", b"a", b"a|1", b"a|b|c", b"a|0|5", b"a|60000|-5", b"a|60000|5", b"a|1|%d" % 10**20]
)
def test_other_keys_are_not_ours(text: bytes) -> None:
    assert parse_record_key(text) is None
