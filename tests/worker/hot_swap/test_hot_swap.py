"""Another model takes over in mid-stream: nothing is lost or doubled, and each prediction is its own version's."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import Stage, Worker, wait_until
from tests.model_registry import MODULES, Registry, await_version, readings, shown
from tests.models import changed, without_scaler

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

LONGER: dict[str, Any] = {"windows": (6, 30, 120), "max_span_ms": 1_800_000}


def test_the_alias_moves_and_moves_back(stage: Stage, models: Registry, model_package: Path, tmp_path: Path) -> None:
    second = models.add(changed(model_package, tmp_path / "second", shift=0.2))
    with models.worker(stage) as worker:
        stage.publish_readings(readings(0, 20))
        worker.await_scored(100)
        models.point(second)
        await_version(worker, second)
        stage.publish_readings(readings(20, 20))
        worker.await_scored(200)
        models.point("1")
        await_version(worker, "1")
        stage.publish_readings(readings(40, 20))
        worker.await_scored(300)
        assert worker.metric("hazardstream_model_swaps_total") == 2
        assert worker.metric("hazardstream_model_info", version="1") == 1
        assert worker.metric("hazardstream_model_info", version=second) == 0
        watch = shown(worker)["watch"]
        assert (watch["swaps"], watch["refused"], watch["down"]) == (2, None, None)
        assert worker.stop() == 0
    versions = models.assert_each_prediction_is_its_versions(stage)
    assert [versions.count(v) for v in ("1", second)] == [200, 100]


def await_swaps(worker: Worker, count: int) -> None:
    wait_until(lambda: worker.metric("hazardstream_model_swaps_total") >= count, f"{count} swaps")


def test_swaps_in_mid_stream_to_a_model_without_scaler_and_back(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    second = models.add(without_scaler(model_package, tmp_path / "second"))
    with models.worker(stage, batch_max_messages="50") as worker:
        for part in range(6):
            models.point(second if part % 2 == 0 else "1")
            stage.publish_readings(readings(part * 60, 60))
            await_swaps(worker, part + 1)
        worker.await_scored(6 * 300)
        assert worker.stop() == 0
    assert set(models.assert_each_prediction_is_its_versions(stage)) == {"1", second}


def test_a_model_with_longer_windows_gets_them_from_the_log(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    longer = models.add(changed(model_package, tmp_path / "longer", shift=0.1, **LONGER))
    with models.worker(stage) as worker:
        stage.publish_readings(readings(0, 150))
        worker.await_scored(750)
        models.point(longer)
        # Readings go on coming in while the windows are rebuilt.
        for step in range(150, 200):
            stage.publish_readings(readings(step, 1))
        await_version(worker, longer)
        stage.publish_readings(readings(200, 10))
        worker.await_scored(1050)
        models.point("1")
        await_version(worker, "1")
        stage.publish_readings(readings(210, 10))
        worker.await_scored(1100)
        assert worker.stop() == 0
    versions = models.assert_each_prediction_is_its_versions(stage)
    assert versions.count(longer) >= 50
    in_window = [r["readings_in_window"] for r in stage.stream("predictions") if r["model_version"] == longer]
    assert in_window[-50:] == [120] * 50


def test_a_worker_that_starts_with_longer_windows_than_its_predecessor_gets_them_from_the_log(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    longer = models.add(changed(model_package, tmp_path / "longer", **LONGER))
    with models.worker(stage) as worker:
        stage.publish_readings(readings(0, 250))
        worker.await_scored(1250)
        assert worker.stop() == 0
    models.point(longer)
    with models.worker(stage) as worker:
        stage.publish_readings(readings(250, 5))
        worker.await_scored(25)
        assert worker.stop() == 0
    assert models.assert_each_prediction_is_its_versions(stage).count(longer) == 25


def test_a_kill_during_swaps_loses_and_doubles_nothing(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    longer = models.add(changed(model_package, tmp_path / "longer", shift=0.1, **LONGER))
    stage.publish_readings(readings(0, 400))
    with stage.worker(**models.settings, batch_max_messages="50", session_timeout_ms="6000") as worker:
        worker.await_scored(200)
        models.point(longer)
        wait_until(lambda: "needs other windows" in worker.log.read_text(), "a swap has begun")
        worker.kill()
    with stage.worker(**models.settings, session_timeout_ms="6000"):
        wait_until(lambda: stage.outcomes() >= 2000, "all outcomes")
    models.assert_each_prediction_is_its_versions(stage)


def of_the_model(stage: Stage) -> list[dict[str, Any]]:
    return [record for record in stage.records("alarms") if record["rule"] is None]


def test_an_alarm_stands_across_a_swap(stage: Stage, models: Registry, model_package: Path, tmp_path: Path) -> None:
    second = models.add(changed(model_package, tmp_path / "second", shift=0.01))
    hot = {"avg_surface_temp_c": 140.0, "max_surface_temp_c": 150.0, "offgas_co_ppm": 900.0, "offgas_h2_ppm": 4000.0}
    with models.worker(stage) as worker:
        stage.publish_readings([*readings(0, 30), *readings(30, 30, **hot)])
        wait_until(lambda: stage.records("alarms"), "an alarm")
        worker.await_scored(300)
        models.point(second)
        await_version(worker, second)
        stage.publish_readings(readings(60, 120))
        wait_until(lambda: any(r["state"] == "RTN" for r in of_the_model(stage)), "a return to normal")
        worker.await_scored(300 + 120 * len(MODULES))
        assert worker.stop() == 0
    alarms = [r for r in of_the_model(stage) if r["module_id"] == MODULES[0]]
    raised, returned = alarms[0], alarms[-1]
    assert (raised["state"], raised["model_version"]) == ("ACTIVE", "1")
    assert (returned["state"], returned["model_version"]) == ("RTN", second)
    assert raised["alarm_id"] == returned["alarm_id"]
    assert not stage.alarm_states()
    models.assert_each_prediction_is_its_versions(stage)
