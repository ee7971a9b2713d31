"""`hazardstream train` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import pipelines.battery_hazard.training.fitting.presets
from common.errors import UserError
from pipelines.battery_hazard.training.cli import register
from pipelines.battery_hazard.training.fitting.train import train as train_to
from pipelines.battery_hazard.training.study import cli as study
from tests.models import TINIEST
from worker.model.mlflow_client import local_store, mlflow_client
from worker.model.package import load_package

app = typer.Typer()
register(app)
study.register(app)


@pytest.fixture(autouse=True)
def _few_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.battery_hazard.training.fitting.presets, "SMALL", TINIEST)


@pytest.fixture(autouse=True)
def _default_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZARDSTREAM_PIPELINE", "battery_hazard")


def test_json_reports_what_was_registered(mlflow_url: str, unique_name: str, tiniest_data: Path) -> None:
    options = ["--data", str(tiniest_data), "--name", unique_name, "--alias", "next", "--tracking-uri", mlflow_url]
    done = CliRunner().invoke(app, ["train", "--small", *options, "--json"])
    assert done.exit_code == 0, done.exception
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["name"], result["version"], result["alias"]) == (unique_name, "1", "next")
    assert result["metrics"]["test"]["modules"]["events"] >= TINIEST.faults
    assert len(result["manifest_sha256"]) == 64


@pytest.mark.slow  # trains a model
def test_output_only_writes_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiniest_data: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_store(tmp_path / "untouched"))
    done = CliRunner().invoke(
        app, ["train", "--small", "--data", str(tiniest_data), "--output", str(tmp_path / "package")]
    )
    assert done.exit_code == 0, done.output
    assert "events detected" in done.stdout
    assert load_package(tmp_path / "package", version="1").name == "battery_hazard"
    assert not (tmp_path / "untouched").exists()


def test_an_output_that_holds_something_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = CliRunner().invoke(app, ["train", "--small", "--output", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "not empty" in str(done.exception)


def test_parameters_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "boosting.json").write_text('{"rounds": 5}')
    done = CliRunner().invoke(app, ["train", "--small", "--boosting", str(tmp_path / "boosting.json")])
    assert isinstance(done.exception, UserError)
    assert "hazardstream tune" in str(done.exception)


@pytest.mark.slow  # trains a model
def test_a_study_that_was_broken_off_goes_on_and_its_parameters_train(tmp_path: Path, tiniest_data: Path) -> None:
    tuned = tmp_path / "boosting.json"

    def tune(trials: int) -> dict[str, Any]:
        options = ["--storage", str(tmp_path / "study.db"), "--output", str(tuned), "--trials", str(trials)]
        done = CliRunner().invoke(app, ["tune", "--small", "--data", str(tiniest_data), *options, "--json"])
        assert done.exit_code == 0, done.exception
        return dict(json.loads(done.stdout.splitlines()[-1]))

    first, more = tune(2), tune(4)
    assert (first["trials"], more["trials"]) == (2, 4)
    assert more["value"] >= first["value"]
    options = ["--boosting", str(tuned), "--output", str(tmp_path / "package")]
    done = CliRunner().invoke(app, ["train", "--small", "--data", str(tiniest_data), *options])
    assert done.exit_code == 0, done.exception
    used = load_package(tmp_path / "package", version="1").metrics["training"]
    assert used["boosting.max_depth"] == more["boosting"]["max_depth"]


def test_models_are_compared_and_logged(mlflow_url: str, tiniest_data: Path) -> None:
    options = ["--data", str(tiniest_data), "--tracking-uri", mlflow_url, "--json"]
    done = CliRunner().invoke(app, ["compare", "--small", *options])
    assert done.exit_code == 0, done.exception
    compared = json.loads(done.stdout.splitlines()[-1])
    assert {name.split(",")[0] for name in compared} == {
        "thresholds",
        "logistic regression",
        "random forest",
        "XGBoost",
    }
    assert len({of["modules"]["events"] for of in compared.values()}) == 1  # one protocol, the same events
    with mlflow_client(mlflow_url) as client:
        experiment = client.get_experiment_by_name("hazardstream").experiment_id
        names = {run.info.run_name for run in client.search_runs([experiment])}
    assert set(compared) <= names


@pytest.mark.slow  # trains a model
def test_an_evaluation_is_one_page_and_one_object(tmp_path: Path, tiniest_data: Path) -> None:
    package = train_to(tmp_path / "package", preset=TINIEST, data=tiniest_data)
    options = ["--module-days", "5", "--events", "2", "--bench-events", "1", "--bench-days", "1", "--processes", "1"]
    report = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["evaluate", "--model", str(package), *options, "--report", str(report), "--json"])
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["normal"]["modules"]["any alarm"]["module_days"] == pytest.approx(5, rel=0.1)
    assert found["events"]["modules"]["any alarm"]["events"] >= 14  # two faults, seven sets of sensors
    assert {bar["bar"].split(",")[0] for bar in found["bars"]} >= {"false alarms"}
    page = report.read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page  # nothing is fetched
