"""A worker with a challenger: its alias is watched, and the shadow's records go out with the batch they are of."""

import shutil
from pathlib import Path

import pytest

from tests.harness import Stage, wait_until
from tests.model_registry import Registry, readings, shown
from tests.models import changed
from worker.model.mlflow_client import mlflow_client

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def point_challenger(models: Registry, version: str | None) -> None:
    with mlflow_client(models.url) as client:
        if version is None:
            client.delete_registered_model_alias(models.name, "challenger")
        else:
            client.set_registered_model_alias(models.name, "challenger", version)


def damaged(package: Path, copy: Path) -> Path:
    shutil.copytree(package, copy)
    (copy / "booster.ubj").write_bytes(b"cut")
    return copy


def test_a_challenger_comes_scores_and_goes(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    second = models.add(changed(model_package, tmp_path / "second", shift=0.2))
    unsound = models.add(damaged(model_package, tmp_path / "unsound"), sound=False)
    challenger = f"models:/{models.name}@challenger"
    with models.worker(stage, challenger=challenger, challenger_max_ms="2000") as worker:
        stage.publish_readings(readings(0, 10))
        worker.await_scored(50)
        assert stage.committed("shadow") == []
        assert (shown(worker)["challenger"], shown(worker)["challenger_watch"]["refused"]) == (None, None)
        point_challenger(models, second)
        wait_until(lambda: (shown(worker)["challenger"] or {}).get("version") == second, "a challenger")
        stage.publish_readings(readings(10, 10))
        worker.await_scored(100)
        assert worker.metric("hazardstream_shadow_scored_total") == 50
        point_challenger(models, unsound)
        wait_until(lambda: shown(worker)["challenger_watch"]["refused"], "a refusal")
        assert shown(worker)["challenger"] is None
        assert worker.metric("hazardstream_challenger_refused_total", reason="digest_mismatch") == 1
        point_challenger(models, None)
        wait_until(lambda: shown(worker)["challenger_watch"]["refused"] is None, "no challenger, no refusal")
        stage.publish_readings(readings(20, 10))
        worker.await_scored(150)
        assert worker.stop() == 0
    models.assert_each_prediction_is_its_versions(stage)
    of = {(r["source_partition"], r["source_offset"]): r["hazard_probability"] for r in stage.stream("predictions")}
    shadow = stage.records("shadow")
    assert len(shadow) == 50
    assert {(r["champion_version"], r["challenger_version"]) for r in shadow} == {("1", second)}
    assert all(of[r["source_partition"], r["source_offset"]] == r["champion_probability"] for r in shadow)
