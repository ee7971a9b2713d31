"""Recorded destructive tests: what the pipeline and fixed limits find, counted on hand-made cells."""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from common.errors import UserError
from pipelines.battery_hazard.training.study.cli import register
from pipelines.battery_hazard.training.study.fixed_limits import best_found, first, first_hits, rise_c_s
from pipelines.battery_hazard.training.study.recorded_tests import RecordedTests, read_tests
from tests.flagship import SHIPPED_MODEL
from worker.config.pipeline import load_pipeline
from worker.model.package import ModelPackage

if TYPE_CHECKING:
    from common.arrays import Float

ONSET_S = 120
TIMES = np.arange(300.0)
CELLS = {
    "runs_away": 25 + np.clip(15.0 * (TIMES - ONSET_S), 0, 400),
    "heats_and_cools": 25 + 50 * np.exp(-np.maximum(TIMES - ONSET_S, 0) / 20) * (TIMES >= ONSET_S),
    "stays_cold": np.full(300, 25.0),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One cell that runs away, one that heats to 75 °C and cools down, and one that stays cold, at 1 s."""
    rows = [
        f"{name},{t:.0f},3.9,{c:.2f},{c:.2f}" for name, cell in CELLS.items() for t, c in zip(TIMES, cell, strict=True)
    ]
    text = "\n".join(["test,t_s,voltage_v,mean_temp_c,max_temp_c", *rows]) + "\n"
    (tmp_path / "readings.csv.gz").write_bytes(gzip.compress(text.encode()))
    lines = [f"{name},made,{ONSET_S if name == 'runs_away' else ''},{cell.max()}" for name, cell in CELLS.items()]
    (tmp_path / "tests.csv").write_text("\n".join(["test,family,runaway_onset_s,peak_temp_c", *lines]) + "\n")
    return tmp_path


def test_a_rise_is_per_second_at_any_sampling_period() -> None:
    for period_s in (1, 5, 10, 30):
        t_s = np.arange(0.0, 120, period_s)
        assert rise_c_s(t_s, 20 + 2 * t_s)[-1] == pytest.approx(2)
    assert rise_c_s(np.array([0.0, 1.0]), np.array([20.0, 90.0])).tolist() == [0, 0]  # nothing is 10 s old


def test_the_best_limit_finds_the_runaway_without_a_false_alarm() -> None:
    hits = np.array([first_hits(TIMES, cell) for cell in CELLS.values()])
    onset_s = np.array([ONSET_S, np.nan, np.nan])
    assert best_found(hits, onset_s, 3, [0, 1]) == [0, 1]  # 75 °C is passed after 4 s; the other cell begins with it
    assert best_found(hits, onset_s, 10, [0, 1]) == [1, 1]
    assert first(TIMES, CELLS["runs_away"] >= 100) == ONSET_S + 5


def test_sampled_at_10_s_the_first_reading_of_each_period_is_seen(directory: Path, package: ModelPackage) -> None:
    course = RecordedTests(directory, load_pipeline("battery_hazard")).courses(package, 10)["runs_away"]
    seen: Float = TIMES[::10]
    assert course.t_s.tolist() == course.scored_s.tolist() == seen.tolist()
    assert course.hottest_c == pytest.approx(CELLS["runs_away"][::10])


def test_every_table_has_fixed_limits_beside_the_pipeline(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZARDSTREAM_PIPELINE", "battery_hazard")
    app = typer.Typer()
    register(app)
    options = ["evaluate-recordings", str(directory), "--model", str(SHIPPED_MODEL)]
    done = CliRunner().invoke(app, [*options, "--json"])
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["tests"], found["runaways"], found["others"], found["others_below_60_c"]) == (3, 1, 2, 1)
    assert {(of["period_s"], of["sensors"]) for of in found["samplings"]} >= {(1, "mean only"), (10, "mean only")}
    for sampling in found["samplings"]:
        shipped, limit, _ = sampling["operating_points"]
        assert shipped["critical_within_30_s"]["of"] == limit["critical_within_30_s"]["of"] == 1
        assert (limit["critical_within_10_s"]["count"], limit["false_critical"]["count"]) == (1, 0)
        assert limit["false_critical"]["interval"] == pytest.approx([0, 0.8419], abs=1e-4)  # Clopper-Pearson, 0 of 2
        assert [row["false_alarms"] for row in sampling["sweep"]] == [0, 1]
        assert {"model_within_10_s", "limits_within_10_s"} <= sampling["sweep"][0].keys()


def test_a_directory_without_tests_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tests\.csv"):
        read_tests(tmp_path)
