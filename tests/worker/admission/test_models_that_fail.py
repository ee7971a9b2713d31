"""A model that was accepted and then fails while it scores: the last good one scores what it could not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Stage, wait_until
from tests.model_registry import Registry, await_version, readings, shown
from tests.models import changed
from worker.model.mlflow_client import local_store

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

FAILING = """

import os

import worker.model.package

score = worker.model.package.ModelPackage.score

def failing(self, features):
    # A temperature that no row of the check has, as its values are drawn at random or lie at the ends.
    if self.version in os.environ.get("FAILING_VERSIONS", "").split(",") and (features[:, 0] == 77.7).any():
        raise worker.model.package.ModelFailedError(self, "cannot score: for this test")
    return score(self, features)

worker.model.package.ModelPackage.score = failing
"""


@pytest.fixture
def models(unique_name: str, model_package: Path, tmp_path: Path) -> Registry:
    """Version 1 is the model package, and the champion; in a store without a server."""
    (tmp_path / "store").mkdir()
    registry = Registry(unique_name, local_store(tmp_path / "store"))
    registry.point(registry.add(model_package))
    return registry


@pytest.fixture
def failing(stage: Stage, tmp_path: Path) -> Callable[[str], None]:
    """Have the workers' model of a version fail: a module that Python imports at its start sees to that."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(FAILING)

    def fail(version: str) -> None:
        stage.environment.update(PYTHONPATH=str(directory), FAILING_VERSIONS=version)

    return fail


def test_the_last_good_one_scores_what_another_failed_at(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path, failing: Callable[[str], None]
) -> None:
    second = models.add(changed(model_package, tmp_path / "second", shift=0.2))
    failing(second)
    with models.worker(stage) as worker:
        stage.publish_readings(readings(0, 4))
        worker.await_scored(20)
        models.point(second)
        await_version(worker, second)
        stage.publish_readings(readings(4, 4, avg_surface_temp_c=77.7))
        worker.await_scored(40)
        assert shown(worker)["version"] == "1"
        wait_until(lambda: (r := shown(worker)["watch"]["refused"]) and r["fault"] == "failed_in_use", "it is refused")
        assert worker.metric("hazardstream_model_failed_total") == 1
        ready = worker.get("/ready")
        assert ready is not None
        assert ready.status_code == 200
        assert f"{second} cannot score: for this test; version 1 scores instead" in ready.json()["warnings"][0]
        # Started again, it is not tried again.
        assert worker.stop() == 0
    with models.worker(stage) as worker:
        stage.publish_readings(readings(8, 4, avg_surface_temp_c=77.7))
        worker.await_scored(20)
        assert worker.metric("hazardstream_model_failed_total") == 0
        third = models.add(changed(model_package, tmp_path / "third", shift=0.1))
        models.point(third)
        await_version(worker, third)
        assert worker.stop() == 0
    assert models.assert_each_prediction_is_its_versions(stage).count("1") == 60


def test_without_another_one_the_partition_waits_and_the_worker_does_not_end(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path, failing: Callable[[str], None]
) -> None:
    failing("1")
    with models.worker(stage) as worker:
        stage.publish_readings(readings(0, 4, avg_surface_temp_c=77.7))
        worker.await_reason("waiting for model", "for this test")
        assert worker.process.poll() is None
        assert not list(stage.stream("predictions"))
        second = models.add(changed(model_package, tmp_path / "second", shift=0.2))
        models.point(second)
        worker.await_scored(20)
        assert worker.stop() == 0
    assert models.assert_each_prediction_is_its_versions(stage) == [second] * 20
