"""A model's life from one champion to the next: drift, a retraining, the shadow, the promotion, the swap."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.plant.sensing import CO
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.features import TOPOLOGY
from pipelines.battery_hazard.training.fitting.models import Rows
from pipelines.battery_hazard.training.fitting.train import silent, train
from pipelines.battery_hazard.training.retraining.attempt import PACKAGE, Workshop, read_report
from pipelines.battery_hazard.training.retraining.triggers import Triggers
from pipelines.battery_hazard.training.retraining.watch import watch
from tests.commands import hazardstream
from tests.drift_sites import recording, sketches
from tests.harness import START_MS, Stage, Worker, make_stage, wait_until
from tests.model_registry import MODULES, PERIOD_MS, Registry, await_version, readings, shown
from tests.models import TINIEST
from training.monitoring.performance.labels import EVENT, Label
from training.monitoring.topics import MonitoringTopics
from training.registry.register import register_package
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.model.package import load_package
from worker.windows.offline import offline_features

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
HOT = {"avg_surface_temp_c": 140.0, "max_surface_temp_c": 150.0, "offgas_co_ppm": 900.0, "offgas_h2_ppm": 4000.0}


@pytest.fixture
def champion(tmp_path: Path, tiniest_data: Path, unique_name: str) -> Path:
    """Package of the model that scores at first. It has learned that the readings of `readings` are normal.

    So small a model might take them for hazards otherwise, and a retraining leaves out what surrounds alarms. It has
    fewer trees than its candidate will have: of two so small models, chance could make the candidate the worse one.
    """
    known = normal_rows(readings(0, 60))
    preset = replace(TINIEST, boosting=replace(TINIEST.boosting, rounds=2))
    return train(tmp_path / "champion", preset=preset, name=unique_name, data=tiniest_data, recorded=known)


def normal_rows(given: list[dict[str, Any]]) -> Rows:
    """Rows to train on, as a retraining makes of recorded readings in normal operation."""
    key = np.array([MODULES.index(one["module_id"]) for one in given])
    ts = np.array([one["ts"] for one in given], np.int64)
    values = np.array([[one.get(name) for name in FEATURES.sensors] for one in given], np.float64)
    scales = np.tile(FEATURES.scales(TOPOLOGY), (len(MODULES), 1))
    features, _ = offline_features(FEATURES, key, ts, values, scales)
    zeros = np.zeros(len(features), np.float32)
    return Rows(features.astype(np.float32), zeros, np.ones_like(zeros))


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, champion: Path) -> Stage:
    return make_stage(kafka, topic_prefix, tmp_path, champion)


@pytest.fixture
def models(champion: Path, mlflow_url: str, unique_name: str) -> Registry:
    version = register_package(champion, tracking_uri=mlflow_url).version
    return Registry(unique_name, mlflow_url, {version: champion})


@contextmanager
def retraining(workshop: Workshop) -> Iterator[None]:
    """What `hazardstream retrain --watch` does, with a model so small that it takes seconds."""
    stop = threading.Event()

    def work() -> None:
        with MonitoringTopics(workshop.settings) as topics:
            triggers = Triggers(topics, workshop.home / "answered.json")
            watch(
                workshop,
                triggers,
                alias="challenger",
                every_s=0.2,
                at_most_every_s=3600,
                stop=stop,
                progress=silent,
                say=lambda _report: None,
            )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def run(stage: Stage, models: Registry, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and result of a command."""
    done = hazardstream(
        *arguments,
        "--json",
        HAZARDSTREAM_PIPELINE=str(stage.pipeline_file),
        HAZARDSTREAM_MODEL=models.uri,
        MLFLOW_TRACKING_URI=models.url,
        KAFKA_BOOTSTRAP_SERVERS=stage.bootstrap,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def drifted(package: Path, pipeline: Pipeline) -> list[dict[str, Any]]:
    """What workers counted in two weeks at a site whose gas sensors shifted on the ninth day."""

    def shift(values: Any, day: Any) -> None:
        values[..., CO] += np.where(day >= 8, 10.0, 0.0)

    return sketches(recording(21, 14, modules=8).changed(shift), load_package(package, version="1"), pipeline)


def feed(stage: Stage, worker: Worker, first: int, count: int, **sensors: float) -> None:
    """Publish this number of steps of all modules, and wait until they are scored."""
    before = worker.metric("hazardstream_scored_total")
    stage.publish_readings(readings(first, count, **sensors))
    worker.await_scored(int(before) + count * len(MODULES))


def test_from_drift_to_swap(stage: Stage, models: Registry, tmp_path: Path) -> None:
    settings = Settings(
        pipeline=str(stage.pipeline_file),
        bootstrap_servers=stage.bootstrap,
        model=models.uri,
        tracking_uri=models.url,
        cache_directory=tmp_path / "retraining-cache",
    )
    workshop = Workshop(settings, tmp_path / "retraining", TINIEST, days=1e5)
    challenger = f"models:/{models.name}@challenger"
    with models.worker(stage, challenger=challenger, challenger_max_ms="5000") as worker:
        feed(stage, worker, 0, 60)
        assert shown(worker)["challenger"] is None
        assert stage.records("alarms") == []  # else a retraining rightly leaves out these readings

        # Drift, a retraining, a challenger.
        with retraining(workshop), MonitoringTopics(settings) as topics:
            topics.publish("sketches", [("all", sketch) for sketch in drifted(stage.model, stage.pipeline)])
            assert workshop.attempts() == []
            code, told = run(stage, models, "drift", "--publish")
            assert (code, "offgas_co_ppm" in {e["subject"] for e in told["new_events"]}) == (0, True)
            wait_until(lambda: (shown(worker)["challenger"] or {}).get("version") == "2", "a challenger", 400)
        (directory,) = workshop.attempts()
        report = read_report(directory)
        assert (report.status, report.version, report.champion) == ("registered", "2", "1")
        assert report.recorded_rows == 60 * len(MODULES)
        assert any("offgas_co_ppm has another distribution" in reason for reason in report.reasons)
        models.packages["2"] = directory / PACKAGE

        # The shadow; and what people confirm.
        feed(stage, worker, 60, 60)
        feed(stage, worker, 120, 60, **HOT)
        labels = [Label(module, START_MS + 180 * PERIOD_MS, EVENT) for module in MODULES]
        with MonitoringTopics(settings) as topics:
            topics.publish("labels", [(label.key, label.record(topics.pipeline)) for label in labels])
        assert worker.metric("hazardstream_shadow_scored_total") == 120 * len(MODULES)

        # Not on so little evidence; then on as little as we have.
        code, told = run(stage, models, "promote", "--yes")
        assert (code, told["promoted"], len(told["insufficient"])) == (1, False, 1)
        assert told["readings"] == 120 * len(MODULES)
        assert told["events"] == len(MODULES)
        for model in ("champion", "challenger"):
            alarms = worker.metric("hazardstream_shadow_alarms_total", model=model)
            assert told[model]["alarms"] == alarms == len(MODULES)
        assert shown(worker)["version"] == "1"
        code, told = run(stage, models, "promote", "--yes", "--key-days", "0.2")
        assert (code, told["promoted"], told["worse"]) == (0, True, [])

        # The swap.
        await_version(worker, "2")
        wait_until(lambda: shown(worker)["challenger"] is None, "no challenger any more")
        feed(stage, worker, 180, 20)
        assert worker.metric("hazardstream_model_swaps_total") == 1
        assert worker.stop() == 0
    versions = models.assert_each_prediction_is_its_versions(stage)
    assert [versions.count(v) for v in ("1", "2")] == [180 * len(MODULES), 20 * len(MODULES)]
