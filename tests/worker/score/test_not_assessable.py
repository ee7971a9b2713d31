"""Readings that a package says it cannot judge: told in predictions, quiet in alarms, the same in any cut."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any, TypeAlias

import numpy as np
import pytest

from serve.scoring import RequestScorer
from tests.flagship import FILE, PIPELINE, WITHOUT_RULES, write_folder
from tests.harness import START_MS, reading
from tests.models import resealed
from worker.admission.compatibility import require_fit
from worker.config.pipeline import Pipeline, load_pipeline
from worker.consume.outcome_metrics import count_outcome
from worker.http.key_description import description_of
from worker.in_memory import InMemory, Results
from worker.model.assessable import ASSESSABLE
from worker.model.package import ModelPackage, PackageError, load_package
from worker.observe.metrics import Metrics
from worker.windows.partition import Partition

DECLARED = {
    "needs": [["max_surface_temp_c", "avg_surface_temp_c"]],
    "ranges": [{"feature": "voltage_v", "by": "chemistry", "cases": {"nmc": [2.5, 4.35], "lfp": [2.0, 3.75]}}],
}
Sensors: TypeAlias = dict[str, float | None]
GAS: Sensors = {"offgas_co_ppm": 900.0, "offgas_h2_ppm": 900.0, "offgas_voc_ppm": 900.0}
HOT: Sensors = {"max_surface_temp_c": 95.0, "avg_surface_temp_c": 80.0, **GAS}
BLIND: Sensors = {"max_surface_temp_c": None, "avg_surface_temp_c": None, **GAS}
ABSURD: Sensors = {"voltage_v": 1.0}
LOW: Sensors = {"voltage_v": 14 * 2.3}
HIGH: Sensors = {"voltage_v": 14 * 4.1}
NO_VALUE, OUT = "no value: max_surface_temp_c, avg_surface_temp_c", "out of range: voltage_v"


@pytest.fixture(scope="module")
def judging(model_package: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    made = copytree(model_package, tmp_path_factory.mktemp("judging") / "package")
    (made / ASSESSABLE).write_text(json.dumps(DECLARED))
    return load_package(resealed(made), version="1")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The flagship pipeline with a limit beside the model, and racks of another chemistry."""
    text = WITHOUT_RULES.replace("groups: {}", "groups: {Rack2: {chemistry: lfp}}")
    rules = "alarm:\n  rules:\n    - {name: hot, priority: HIGH, field: max_surface_temp_c, high: 90}\n"
    assert "alarm: {}" in text
    return load_pipeline(str(write_folder(tmp_path_factory.mktemp("rules") / "p", text.replace("alarm: {}", rules))))


def at(n: int, sensors: Sensors | None = None, module: str = "m", rack: str = "Rack1") -> dict[str, Any]:
    return reading(module, START_MS + n * 10_000, **(sensors or {})) | {"rack_id": rack}


def told(results: Results) -> list[str | None]:
    return [record["not_assessable"] for record in results.predictions]


def alarms(results: Results) -> list[tuple[int, str | None, str, str]]:
    return [(a["source_offset"], a["rule"], a["state"], a["priority"]) for a in results.alarms]


def described(memory: InMemory) -> dict[str, Any]:
    found = description_of("m", memory._scorer, {0: memory._partition})
    assert found is not None
    return found


def test_a_key_without_what_the_model_needs_raises_a_maintenance_alarm_and_no_other(
    pipeline: Pipeline, judging: ModelPackage
) -> None:
    memory = InMemory(pipeline, judging)

    blind = memory.process(at(n, BLIND) for n in range(70))
    assert told(blind) == [NO_VALUE] * 70
    assert not any(record["hazardous"] for record in blind.predictions)
    assert alarms(blind) == [(60, "not_assessable", "ACTIVE", "MAINTENANCE")]
    assert described(memory)["not_assessable"] == NO_VALUE

    seeing = memory.process(at(n) for n in range(70, 80))
    assert told(seeing) == [None] * 10
    assert alarms(seeing) == [(76, "not_assessable", "RTN", "MAINTENANCE")]
    assert described(memory)["not_assessable"] is None


def test_an_alarm_is_neither_raised_nor_ended_by_readings_that_cannot_be_judged_but_limits_go_on(
    pipeline: Pipeline, judging: ModelPackage
) -> None:
    hot, absurd = [at(n, HOT) for n in range(30)], [at(n, ABSURD) for n in range(30, 60)]
    hot_and_absurd = [at(n, ABSURD | HOT) for n in range(30)]

    judged = alarms(InMemory(pipeline, judging).process([*hot, *absurd]))
    unjudged = InMemory(pipeline, judging).process(hot_and_absurd)

    assert ("ACTIVE", None) in {(state, rule) for _, rule, state, _ in judged}
    assert (30, "hot", "RTN", "HIGH") in judged
    assert not [made for made in judged if made[1] is None and made[2] == "RTN"]
    assert set(told(unjudged)) == {OUT}
    assert alarms(unjudged) == [(0, "hot", "ACTIVE", "HIGH")]


def test_ranges_are_those_of_the_keys_topology_per_part(pipeline: Pipeline, judging: ModelPackage) -> None:
    rows = [at(0, LOW, "a", "Rack1"), at(0, LOW, "b", "Rack2")]
    rows += [at(1, HIGH, "a", "Rack1"), at(1, HIGH, "b", "Rack2")]

    assert told(InMemory(pipeline, judging).process(rows)) == [OUT, None, None, OUT]


def test_a_topology_without_ranges_is_refused(judging: ModelPackage, tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8").replace("chemistry: nmc}", "chemistry: lead}")

    with pytest.raises(PackageError, match="topology says chemistry: lead, and voltage_v has ranges for nmc, lfp"):
        require_fit(judging, load_pipeline(str(write_folder(tmp_path / "p", text))))


def mixed() -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    kinds: tuple[Sensors, ...] = (
        {},
        HOT,
        BLIND,
        {"voltage_v": 1.0},
        {"voltage_v": 14 * 4.1},
        {"max_surface_temp_c": None},
    )
    drawn = [kinds[number] for number in rng.integers(len(kinds), size=400).tolist()]
    return [at(n // 4, BLIND if n % 4 == 3 else drawn[n], f"m{n % 4}", f"Rack{n % 2 + 1}") for n in range(400)]


@pytest.mark.slow  # scores 400 readings five times, once one by one
def test_neither_the_cut_into_batches_nor_a_rebuild_changes_it(pipeline: Pipeline, judging: ModelPackage) -> None:
    rows = mixed()
    whole = InMemory(pipeline, judging).process(rows)
    assert set(told(whole)) == {None, NO_VALUE, OUT}

    for size in (1, 7, 64):
        cut = InMemory(pipeline, judging, batch_size=size).process(rows)
        assert (told(cut), alarms(cut)) == (told(whole), alarms(whole))
    restarted = InMemory(pipeline, judging, batch_size=50)
    restarted._partition = Partition(0, 0, live_from=200)
    assert told(restarted.process(rows)) == told(whole)[200:]  # the first half only rebuilds windows


def test_http_answers_and_metrics_tell_it(pipeline: Pipeline, judging: ModelPackage) -> None:
    scorer = RequestScorer(PIPELINE, judging, 100)
    readings = [at(0, BLIND, "a"), at(0, None, "b")]
    (answer,) = scorer.score_all([scorer.read({"readings": readings})], START_MS)
    assert [row["not_assessable"] for row in answer.predictions] == [NO_VALUE, None]  # type: ignore[union-attr]
    (of_rows,) = scorer.score_all([scorer.read({"rows": [{"voltage_v": 3.6}]})], START_MS)
    assert (of_rows.predictions[0]["not_assessable"], of_rows.predictions[0]["positive"]) == (NO_VALUE, False)  # type: ignore[union-attr]

    metrics, found = Metrics(), InMemory(pipeline, judging).process(readings)
    for outcome in found.outcomes:
        count_outcome(metrics, outcome, PIPELINE.input.sensors())
    assert metrics.registry.get_sample_value("hazardstream_not_assessable_total", {"reason": NO_VALUE}) == 1


def test_a_package_that_declares_nothing_judges_all(pipeline: Pipeline, package: ModelPackage) -> None:
    assert told(InMemory(pipeline, package).process([at(0, BLIND), at(1, ABSURD)])) == [None, None]
