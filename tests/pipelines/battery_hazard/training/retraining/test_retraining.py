"""Retraining: what asks for it, what is trained on, what is worse, and what becomes of candidates."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.events.ground_truth import Fault
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.series import About
from pipelines.battery_hazard.training.evaluation.operator_metrics import EventOutcome, FalseAlarm, SeriesResult
from pipelines.battery_hazard.training.fitting.train import silent
from pipelines.battery_hazard.training.retraining.attempt import PACKAGE, read_report, retrain
from pipelines.battery_hazard.training.retraining.compare import compare, worse
from pipelines.battery_hazard.training.retraining.recorded import recorded_rows
from pipelines.battery_hazard.training.retraining.triggers import Triggers
from tests.harness import START_MS, Stage, make_stage, reading
from tests.retrainings import workshop
from training.monitoring.drift.events import DriftEvent
from training.monitoring.performance.labels import EVENT, FALSE_ALARM, Label
from training.monitoring.topics import MonitoringTopics
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.settings import Settings
from worker.model.package import ModelPackage, load_package

DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def about(site: int = 1) -> About:
    fault = Fault(0, "overcharge", onset_ts=0, first_sign_ts=0, first_sign_tv_ts=0, no_return_ts=1, vents_early=True)
    return About(site, 0, "complete", bench=False, period_ms=10_000, fault=fault, nuisances=(), nuisance_rate=0.0)


def verdict(lead_s: float | None, false_alarms: int = 0) -> SeriesResult:
    event = EventOutcome(about(), 1200.0, lead_s, None if lead_s is None else 0.0)
    return SeriesResult(about(), event, tuple(FalseAlarm(about(), n, "none") for n in range(false_alarms)), 1.0, 0.0)


@pytest.mark.parametrize(
    ("candidate", "champion", "said"),
    [
        ([verdict(900.0)] * 20, [verdict(900.0)] * 20, 0),
        ([verdict(900.0)] * 20, [verdict(None)] * 20, 0),
        ([verdict(None)] * 4 + [verdict(900.0)] * 16, [verdict(900.0)] * 20, 0),  # may be chance
        ([verdict(None)] * 5 + [verdict(900.0)] * 15, [verdict(900.0)] * 20, 2),  # not warned of, and so not in time
        ([verdict(10.0)] * 5 + [verdict(900.0)] * 15, [verdict(900.0)] * 20, 1),
        ([verdict(900.0, 5)], [verdict(900.0, 1)], 0),
        ([verdict(900.0, 9)], [verdict(900.0, 1)], 1),
    ],
)
def test_a_candidate_is_worse_where_that_is_no_chance(
    candidate: list[SeriesResult], champion: list[SeriesResult], said: int
) -> None:
    assert len(worse(candidate, champion)) == said


def test_a_champion_with_other_features_cannot_be_compared(package: ModelPackage) -> None:
    other = replace(package, spec=FEATURES.model_copy(update={"max_span_ms": 1_800_000}))
    assert "in the shadow" in compare(package, other, [], []).worse[0]


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    return make_stage(kafka, topic_prefix, tmp_path, model_package)


def settings(stage: Stage, **more: Any) -> Settings:
    return Settings(
        pipeline=str(stage.pipeline_file),
        bootstrap_servers=stage.bootstrap,
        cache_directory=stage.directory / "cache",
        **({"model": str(stage.model)} | more),
    )


@pytest.fixture
def topics(stage: Stage) -> Iterator[MonitoringTopics]:
    with MonitoringTopics(settings(stage)) as opened:
        yield opened


def tell(topics: MonitoringTopics, *events: DriftEvent) -> None:
    topics.publish("events", [(event.site, event.record()) for event in events])


def event(kind: str, subject: str, state: str, ts: int) -> DriftEvent:
    return DriftEvent("north", kind, subject, state, ts, 0.3, 0.1, ("battery_hazard", "1"))


@pytest.mark.kafka
def test_what_stands_asks_until_it_is_answered(stage: Stage, topics: MonitoringTopics, tmp_path: Path) -> None:
    file = tmp_path / "retrain"
    triggers = Triggers(topics, tmp_path / "home" / "answered.json", file)
    assert triggers.waiting() == []
    tell(
        topics,
        event("drift", "voltage_v", ACTIVE, 1000),
        event("drift", "soc_percent", ACTIVE, 1000),
        event("drift", "soc_percent", RTN, 2000),
        event("missing", "voltage_v", ACTIVE, 1000),
        event("performance", "recall", ACTIVE, 3000),
    )
    file.write_text("the plant was rebuilt\n")
    asked = triggers.waiting()
    assert [t.identity.rpartition("/")[0] for t in asked[:2]] == ["north/drift/voltage_v", "north/performance/recall"]
    assert "recall" in asked[1].words
    assert asked[2].words == "the plant was rebuilt"
    triggers.answer(asked)
    assert triggers.waiting() == []
    assert not file.exists()
    # Another process remembers; what comes again is another reason.
    tell(topics, event("drift", "voltage_v", RTN, 4000), event("drift", "voltage_v", ACTIVE, 5000))
    file.touch()
    with MonitoringTopics(settings(stage)) as opened:
        again = Triggers(opened, tmp_path / "home" / "answered.json", file)
        assert [t.identity for t in again.waiting()] == ["north/drift/voltage_v/5000", f"file {file}"]


@pytest.mark.kafka
def test_recorded_rows_are_normal_operation_with_the_workers_features(stage: Stage, topics: MonitoringTopics) -> None:
    now_ms = START_MS
    began = now_ms - 5 * HOUR_MS
    modules = [f"Rack1_Module{n:02}" for n in range(4)]
    horizon_ms = topics.monitor.performance.horizon_ms
    steps = 60
    stage.publish_readings(
        reading(m, began + step * 10_000, avg_surface_temp_c=26.0 + step % 7 * 0.3)
        for step in range(steps)
        for m in modules
    )
    assert recorded_rows(settings(stage), days=0, now_ms=now_ms * 2) is None
    rows = recorded_rows(settings(stage), days=1e5, now_ms=now_ms)
    assert rows is not None
    assert rows.features.shape == (4 * steps, len(FEATURES.names))
    assert not rows.target.any()
    assert rows.features.dtype == np.float32
    # What is near an event is left out, whoever it was said of.
    label = Label(modules[1], began + steps * 10_000, EVENT)
    topics.publish("labels", [(modules[1], label.record(topics.pipeline))])
    rows = recorded_rows(settings(stage), days=1e5, now_ms=now_ms)
    assert rows is not None
    assert horizon_ms > steps * 10_000
    assert len(rows.target) == 3 * steps


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_alarms_that_nobody_marked_are_left_out_and_false_ones_are_learned_from(
    stage: Stage, topics: MonitoringTopics
) -> None:
    hot = {"avg_surface_temp_c": 140.0, "max_surface_temp_c": 150.0, "offgas_co_ppm": 900.0, "offgas_h2_ppm": 4000.0}
    stage.publish_readings(
        reading(m, START_MS + step * 10_000, **(hot if step >= 30 and m != "m0" else {}))
        for step in range(60)
        for m in ("m0", "m1", "m2")
    )
    with stage.worker() as worker:
        worker.await_ready()
        worker.await_scored(180)
        assert worker.stop() == 0
    alarms = {r["module_id"]: r for r in stage.records("alarms")}
    assert alarms.keys() == {"m1", "m2"}
    label = Label("m1", alarms["m1"]["ts"] + 60_000, FALSE_ALARM)
    topics.publish("labels", [("m1", label.record(topics.pipeline))])
    rows = recorded_rows(settings(stage), days=1e5, now_ms=START_MS)
    assert rows is not None
    assert len(rows.target) == 120  # all of m0 and m1, and nothing of m2
    assert (rows.features[:, 0] == 140.0).sum() == 30


@pytest.mark.slow  # trains a model
@pytest.mark.timeout(180)
def test_a_candidate_is_trained_on_a_seed_of_its_own_and_compared(tmp_path: Path, champion: Path) -> None:
    shop = workshop(tmp_path, str(champion), "http://127.0.0.1:1")
    directory = retrain(shop, ["drift of voltage_v"], silent)
    report = read_report(directory)
    seed = load_package(champion, version="1").metrics["training"]["seed"]
    candidate = load_package(directory / PACKAGE, version="c")
    assert candidate.metrics["training"]["seed"] == report.seed == seed + 1
    assert report.reasons == ["drift of voltage_v"]
    assert report.status == ("rejected" if report.worse else "pending")
    figures = report.comparison["test"]
    assert figures["candidate"]["modules"]["events"] == figures["champion"]["modules"]["events"] > 0
    assert figures["candidate"]["modules"] == candidate.metrics["test"]["modules"]
    assert json.loads((directory / "record" / "retraining.json").read_text())["seed"] == report.seed
    assert [p.name for p in shop.home.iterdir()] == ["000001"]  # nothing unfinished is left
