"""Windows rebuilt beside a loop that goes on are those of a run that always had them; or they do not take over."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from confluent_kafka import Message

from common.arrays import Float
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.harness import START_MS, avro, reading
from tests.models import changed
from worker.consume.message_columns import batch_of
from worker.hot_swap.window_rebuild import PartitionsChangedError, WindowRebuild, _outside
from worker.kafka.topic_reader import Span, Spans
from worker.model.package import ModelPackage, load_package
from worker.score.decode import Decoder, Framed
from worker.score.outcome import Outcome
from worker.score.readings import Readings, Rejection
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

PERIOD_MS, MODULES = 10_000, 3
BATCH = 40


def message(offset: int) -> Message:
    module, ts = f"m{offset % MODULES}", START_MS + offset // MODULES * PERIOD_MS
    value = avro(reading(module, ts, avg_surface_temp_c=26.0 + offset % 11 * 0.3))
    return Message(topic="t", partition=0, offset=offset, key=module.encode(), value=value, timestamp=(1, ts))


class Log:
    """What a TopicReader gives, of a log in memory."""

    def __init__(self) -> None:
        self.records: list[Message] = []

    def spans(self, _topic: str, _only: Container[int]) -> Spans:
        return {0: Span(0, len(self.records))}

    def span_while_running(self, _topic: str, _number: int) -> Span:
        return Span(0, 0)

    def since(self, _topic: str, _number: int, timestamp_ms: int, otherwise: int) -> int:
        late = (m.offset() for m in self.records if m.timestamp()[1] >= timestamp_ms)
        return next(late, otherwise)

    def read(self, _topic: str, spans: Spans) -> Iterator[list[Message]]:
        for start in range(spans[0].low, spans[0].high, 70):
            yield self.records[start : min(start + 70, spans[0].high)]
            yield []


def decoder() -> Decoder:
    return Decoder(PIPELINE.input, writer_schema_lookup(None, KNOWN_SCHEMAS))


def scorer_of(package: ModelPackage, decode: Callable[[Sequence[bytes | None], Framed], Any] | None = None) -> Scorer:
    return Scorer(decode or decoder(), PIPELINE, package, package.policy)


@dataclass
class Loop:
    """A loop without Kafka, its log, and the rebuild beside it."""

    scorer: Scorer
    log: Log = field(default_factory=Log)
    partitions: dict[int, Partition] = field(default_factory=lambda: {0: Partition(0, 0, 0)})

    def __post_init__(self) -> None:
        self.scorer.alarms.assign(0, {})

    def turn(self, times: int = 1) -> Outcome:
        for _ in range(times):
            start = len(self.log.records)
            self.log.records += [message(offset) for offset in range(start, start + BATCH)]
            outcome = self.scorer.process(batch_of(self.log.records[start:]), self.partitions)
            self.scorer.merge(outcome, self.partitions)
        return outcome

    def rebuild_until_following(self, rebuild: WindowRebuild, between: Callable[[], object]) -> None:
        while not rebuild.following:
            places = rebuild.places(self.scorer, self.partitions)
            assert places is not None
            between()
            rebuild.chase(places)


@pytest.fixture
def short(model_package: Path) -> ModelPackage:
    return load_package(model_package, version="short")


@pytest.fixture
def longer(model_package: Path, tmp_path: Path) -> ModelPackage:
    features = {"windows": (6, 30, 120), "max_span_ms": 1_800_000}
    return load_package(changed(model_package, tmp_path / "longer", shift=0.1, **features), version="longer")


def after(package: ModelPackage, turns: int) -> Float:
    """What a loop that had this model from the beginning gives in this turn."""
    return Loop(scorer_of(package)).turn(turns).scored.probability


def test_the_windows_are_those_of_a_run_that_always_had_this_model(short: ModelPackage, longer: ModelPackage) -> None:
    loop = Loop(scorer_of(short))
    loop.turn(20)
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]  # it reads like one
    loop.rebuild_until_following(rebuild, between=loop.turn)
    loop.turn(5)
    assert not rebuild.take_over(loop.scorer, loop.partitions, longer.policy), "it is some batches behind"
    rebuild.catch_up()
    assert rebuild.take_over(loop.scorer, loop.partitions, longer.policy)
    rebuild.leave(loop.scorer, loop.partitions)
    so_far = len(loop.log.records) // BATCH
    outcome = loop.turn(3)
    assert outcome.model is longer
    assert outcome.scored.in_window.tolist() == [120] * BATCH
    np.testing.assert_array_equal(outcome.scored.probability, after(longer, so_far + 3))


def test_the_checkpoint_still_names_the_alarm_state_topic(short: ModelPackage, longer: ModelPackage) -> None:
    live = Partition(0, 0, 0, states_id="alarm-states")
    loop = Loop(scorer_of(short), partitions={0: live})
    loop.turn(5)
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    loop.rebuild_until_following(rebuild, between=lambda: None)
    assert rebuild.take_over(loop.scorer, loop.partitions, longer.policy)
    assert loop.partitions[0] is live
    assert live.states_id == "alarm-states"
    checkpoint = live.checkpoint(live.clock, loop.scorer.windows.rebuild_span_ms)
    assert checkpoint.span_ms == longer.spec.max_span_ms
    assert checkpoint.dump("input", live.states_id).split()[-1] == "alarm-states"


def test_a_partition_that_goes_meanwhile_leaves_the_old_model_at_work(
    short: ModelPackage, longer: ModelPackage
) -> None:
    loop = Loop(scorer_of(short))
    loop.turn(5)
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    loop.rebuild_until_following(rebuild, between=lambda: None)
    gone = loop.partitions.pop(0)
    with pytest.raises(PartitionsChangedError):
        rebuild.take_over(loop.scorer, loop.partitions, longer.policy)
    rebuild.leave(loop.scorer, loop.partitions)
    loop.partitions[0] = gone
    np.testing.assert_array_equal(loop.turn().scored.probability, after(short, 6))


def test_a_partition_that_comes_meanwhile_does_so_too(short: ModelPackage, longer: ModelPackage) -> None:
    loop = Loop(scorer_of(short))
    loop.turn(5)
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    loop.rebuild_until_following(rebuild, between=lambda: None)
    loop.partitions[1] = Partition(1, 0, 0)
    assert loop.scorer.follow is not None
    loop.scorer.follow(cast("Outcome", SimpleNamespace(rejections=[], batch=batch_of([]), next_offsets={1: 5})))
    with pytest.raises(PartitionsChangedError):
        rebuild.take_over(loop.scorer, loop.partitions, longer.policy)


def test_it_waits_for_the_rebuild_of_a_partition_just_taken_over(short: ModelPackage, longer: ModelPackage) -> None:
    loop = Loop(scorer_of(short), partitions={0: Partition(0, 0, live_from=1000)})
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    assert rebuild.places(loop.scorer, loop.partitions) is None


def test_a_worker_without_partitions_just_takes_it(short: ModelPackage, longer: ModelPackage) -> None:
    loop = Loop(scorer_of(short), partitions={})
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    loop.rebuild_until_following(rebuild, between=lambda: None)
    assert rebuild.take_over(loop.scorer, loop.partitions, longer.policy)
    assert loop.scorer.model is longer


def test_what_was_a_dead_letter_is_in_no_window_even_if_it_would_pass_now(
    short: ModelPackage, longer: ModelPackage
) -> None:
    decode, turned_away = decoder(), [True]

    def decode_not_the_first(values: Sequence[bytes | None], framed: Framed) -> tuple[Readings, list[Rejection]]:
        if turned_away[0]:
            values = [None, *values[1:]]
        return decode(values, framed)

    loop = Loop(scorer_of(short, decode_not_the_first))
    rebuild = WindowRebuild(scorer_of(longer), PIPELINE, loop.log, "")  # type: ignore[arg-type]
    turned_away[0] = False
    loop.turn()
    loop.rebuild_until_following(rebuild, between=lambda: None)
    turned_away[0] = True
    assert len(loop.turn().rejections) == 1
    turned_away[0] = False
    assert rebuild.take_over(loop.scorer, loop.partitions, longer.policy)
    in_window = loop.turn().scored.in_window
    assert in_window.max() == (3 * BATCH) // MODULES
    assert in_window[-MODULES:].tolist().count((3 * BATCH) // MODULES - 1) == 1


@pytest.mark.parametrize(
    ("skipped", "read"),
    [
        ([], [(10, 50)]),
        ([range(20, 25)], [(10, 20), (25, 50)]),
        ([range(40, 60), range(5, 12)], [(10, 10), (12, 40), (60, 60)]),
        ([range(9), range(50, 55)], [(10, 50)]),
    ],
)
def test_a_rebuild_reads_around_skipped_batches(skipped: list[range], read: list[tuple[int, int]]) -> None:
    assert [tuple(span) for span in _outside(Span(10, 50), skipped)] == read
