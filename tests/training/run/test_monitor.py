"""The champion's rows are watched: usual rows give no reason to train again, others do, and the report says why."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from common.errors import UserError
from tests.recipes import made_up, small_recipe
from training.run.monitor import monitor_rows
from training.run.train import train
from worker.config.task import Task


def test_rows_of_the_champion_are_watched(unique_name: str, mlflow_url: str, tmp_path: Path) -> None:
    recipe = replace(small_recipe(Task.REGRESSION, unique_name), served="tree")
    rows = replace(recipe.rows(None, 0), frame=made_up(Task.REGRESSION, rows=900))
    with pytest.raises(UserError, match=f"run `hazardstream {unique_name} train` first"):
        monitor_rows(recipe, rows.frame, rows.frame, tmp_path, tracking_uri=mlflow_url)
    train(recipe, rows, tracking_uri=mlflow_url)

    def watched(now: pd.DataFrame, name: str) -> tuple[str, ...]:
        return monitor_rows(recipe, rows.frame, now, tmp_path / name, tracking_uri=mlflow_url).reasons

    usual = made_up(Task.REGRESSION, rows=400, seed=5)
    assert watched(usual, "usual") == ()
    assert watched(usual.drop(columns=["target"]), "unlabelled") == ()
    assert "columns have drifted: a (" in watched(usual.assign(a=usual["a"] + 1, b=usual["b"] - 1), "drift")[0]
    assert "the error on recent rows is" in watched(usual.assign(target=usual["target"] + 3), "error")[0]
    with pytest.raises(UserError, match="have no column a, b"):
        watched(usual.drop(columns=["a", "b"]), "none")
    report = json.loads((tmp_path / "drift/drift.json").read_text())
    assert (report["model"], report["model_version"], report["retrain"]) == (unique_name, "1", True)
    assert "prediction" in {column["name"] for column in report["columns"]}
