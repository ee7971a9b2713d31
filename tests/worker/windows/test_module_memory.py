"""Window slots are used again and not filled by batches that abort; scales are bounded by what is declared."""

from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message

from benchmarks.modules import measure
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.harness import START_MS, avro, reading
from worker.config.topology import Topology
from worker.consume.message_columns import batch_of
from worker.model.package import ModelPackage
from worker.score.batch import Batch
from worker.score.scorer import Scorer, scorer_of
from worker.score.windows import KeyedWindows
from worker.windows.partition import Partition

SPAN_MS = 900_000


@pytest.fixture
def scorer(package: ModelPackage) -> Scorer:
    topology = Topology(
        default=PIPELINE.topology.default, groups={"Rack1": {"cells_in_series": 7}}, keys={"k": {"cells_in_series": 1}}
    )
    pipeline = PIPELINE.model_copy(update={"topology": topology})
    scorer = scorer_of(pipeline, package, package.policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    scorer.alarms.assign(0, {})
    return scorer


def windows(scorer: Scorer) -> KeyedWindows:
    assert isinstance(scorer.windows, KeyedWindows)
    return scorer.windows


def batch(offset: int, modules: list[str], ts: int) -> Batch:
    def message(i: int, module: str) -> Message:
        value = avro(reading(module, ts + i))
        return Message(topic="t", partition=0, offset=offset + i, key=module.encode(), value=value, timestamp=(1, ts))

    return batch_of([message(i, module) for i, module in enumerate(modules)])


def test_a_batch_that_aborts_takes_no_slot(scorer: Scorer) -> None:
    partitions = {0: Partition(0, 0, 0)}
    for _ in range(5):
        scorer.process(batch(0, [f"m{i}" for i in range(100)], START_MS), partitions)
    assert (scorer.windows.held, partitions[0].slots) == (0, {})
    for at in (0, SPAN_MS, 2 * SPAN_MS):
        outcome = scorer.process(batch(at, ["other"], START_MS + at), partitions)
        scorer.merge(outcome, partitions)
    assert scorer.windows.held == 1


def test_slots_are_used_again_before_new_memory_is(scorer: Scorer) -> None:
    partitions = {0: Partition(0, 0, 0)}
    for generation in range(6):
        outcome = scorer.process(
            batch(generation * 64, [f"g{generation}-{i}" for i in range(64)], START_MS + generation * 2 * SPAN_MS),
            partitions,
        )
        assert outcome.scored.in_window.tolist() == [1] * 64
        scorer.merge(outcome, partitions)
    assert scorer.windows.held == 64
    # Two generations, and the row of keys without a slot.
    assert len(windows(scorer).state.last_ts) == 2 * (64 + 1)


def test_scales_are_remembered_by_what_the_topology_declares(scorer: Scorer) -> None:
    partitions = {0: Partition(0, 0, 0)}
    outcome = scorer.process(batch(0, [*(f"m{i}" for i in range(300)), "k"], START_MS), partitions)
    assert len(windows(scorer)._scales._of) == 3
    at = windows(scorer).spec.names.index("voltage_v")
    assert np.unique(outcome.scored.features.numbers[:300, at]).tolist() == pytest.approx([51.0 / 7])
    assert outcome.scored.features.numbers[300, at] == pytest.approx(51.0)


@pytest.mark.slow  # a run of a benchmark
def test_the_benchmark_scores_everything_and_holds_one_generation(tmp_path: Path) -> None:
    figures = measure(8000, tmp_path)
    assert figures["scored"] == 16_000
    assert figures["held_first"] == figures["held_second"] == 8000
    assert figures["growth_in_second"] < 0.2
