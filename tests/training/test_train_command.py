"""`hazardstream train` as a user meets it."""

import json
from pathlib import Path

import pytest
import typer
from models import TINIEST
from typer.testing import CliRunner

import training.register
import training.train
from training.cli import register
from worker.errors import UserError
from worker.package import load_package
from worker.tracking import local_store

app = typer.Typer()
register(app)


@pytest.fixture(autouse=True)
def _few_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.register, "SMALL", TINIEST)
    monkeypatch.setattr(training.train, "SMALL", TINIEST)


def test_json_tells_what_was_registered(mlflow_url: str, unique_name: str) -> None:
    options = ["--small", "--name", unique_name, "--alias", "next", "--tracking-uri", mlflow_url, "--json"]
    done = CliRunner().invoke(app, options)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["name"], result["version"], result["alias"]) == (unique_name, "1", "next")
    assert result["metrics"]["test"]["events"] == TINIEST.faults
    assert len(result["manifest_sha256"]) == 64


def test_output_only_writes_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_store(tmp_path / "untouched"))
    done = CliRunner().invoke(app, ["--small", "--output", str(tmp_path / "package")])
    assert done.exit_code == 0, done.output
    assert "events detected" in done.stdout
    assert load_package(tmp_path / "package", version="1").name == "battery_hazard"
    assert not (tmp_path / "untouched").exists()


def test_an_output_that_holds_something_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = CliRunner().invoke(app, ["--small", "--output", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "not empty" in str(done.exception)
