"""The commands of a pipeline with a recipe: train, monitor, promote and fallback, on a real MLflow."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from common.errors import UserError
from tests.recipes import made_up, small_recipe
from training.datasets.source import Rows
from training.registry.register import version_behind
from training.run.cli import add_commands
from worker.config.task import Task


class Program:
    """The commands of one pipeline, whose model is a small tree."""

    def __init__(self, name: str, url: str, directory: Path) -> None:
        small = small_recipe(Task.REGRESSION, name)

        def rows(_given: Path | None, seed: int) -> Rows:  # enough to tell drift from chance
            return replace(small.rows(None, seed), frame=made_up(Task.REGRESSION, rows=900, seed=seed))

        recipe = replace(small, rows=rows, served="tree")
        self.name, self.url, self.directory = name, url, directory
        self._app = typer.Typer()
        add_commands(self._app, name, lambda: recipe)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(self._app, [self.name, *arguments, "--tracking-uri", self.url])

    def monitor(self, recent: pd.DataFrame, *arguments: str) -> Result:
        file = self.directory / "recent.csv"
        recent.to_csv(file, index=False)
        return self.run("monitor", "--recent", str(file), "--report", str(self.directory / "report"), *arguments)

    def champion(self) -> str | None:
        return version_behind(self.name, "champion", tracking_uri=self.url)


@pytest.fixture
def program(unique_name: str, mlflow_url: str, tmp_path: Path) -> Program:
    return Program(unique_name, mlflow_url, tmp_path)


def test_drift_is_shown_then_trained_away_and_a_version_can_be_taken_back(program: Program) -> None:
    done = program.run("train", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["version"] == "1"

    usual = made_up(Task.REGRESSION, rows=400, seed=5)
    done = program.monitor(usual)
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "no reason to train again")

    drifted = usual.assign(a=usual["a"] + 1)  # with the truth of before: the champion is wrong by 3
    done = program.monitor(drifted)
    assert done.exit_code == 1
    assert "columns have drifted: a" in done.output
    assert (program.directory / "report" / "drift.png").is_file()

    done = program.monitor(usual, "--retrain")  # there is no reason to
    assert (done.exit_code, program.champion()) == (0, "1")
    done = program.monitor(drifted.drop(columns=["target"]), "--retrain")
    assert isinstance(done.exception, UserError)
    assert "--retrain needs rows with their truth: give --recent with a file that has target" in str(done.exception)

    done = program.monitor(drifted, "--retrain")
    assert done.exit_code == 0, done.output
    assert "trained again: version 2 is champion" in done.output
    assert program.champion() == "2"

    done = program.run("fallback", "--json")
    assert json.loads(done.output) == {"left": "2", "champion": "1"}
    assert program.champion() == "1"
    done = program.run("fallback")
    assert "has no version to return to" in str(done.exception)

    done = program.run("promote", "2")
    assert done.output.strip() == f"{program.name}: champion is version 2"
    assert program.champion() == "2"
    done = program.run("promote", "9")
    assert isinstance(done.exception, UserError)
    assert program.champion() == "2"
