"""A version takes the champion's place only if it is at least as good; one command returns to the last good one."""

from dataclasses import replace

import pytest

from common.errors import UserError
from tests.recipes import made_up, small_recipe
from training.promotion.by_metric import fall_back, promote
from training.registry.load_model import load_registered
from training.registry.register import version_behind
from training.run.train import Trained, train
from worker.config.task import Task
from worker.model.mlflow_client import mlflow_client


def trained(name: str, url: str, depth: int, task: Task = Task.MULTICLASS) -> Trained:
    """A version of a tree: the deeper, the better."""
    recipe = small_recipe(task, name, depth=depth)
    recipe = replace(recipe, served="tree")
    return train(recipe, recipe.rows(None, 0), tracking_uri=url)


def behind(name: str, url: str) -> dict[str, str | None]:
    return {alias: version_behind(name, alias, tracking_uri=url) for alias in ("champion", "challenger", "last_good")}


def stages(name: str, url: str) -> dict[str, str]:
    with mlflow_client(url) as client:
        return {str(v.version): v.current_stage for v in client.search_model_versions(f"name='{name}'")}


@pytest.mark.parametrize("task", [Task.MULTICLASS, Task.REGRESSION])
def test_the_better_version_is_promoted_the_worse_is_not(unique_name: str, mlflow_url: str, task: Task) -> None:
    first = trained(unique_name, mlflow_url, 1, task)
    assert first.promotion.promoted
    assert behind(unique_name, mlflow_url) == {"champion": "1", "challenger": None, "last_good": None}

    better = trained(unique_name, mlflow_url, 5, task)
    assert better.promotion.promoted
    assert set(better.promotion.found) == {"1", "2"}
    assert behind(unique_name, mlflow_url) == {"champion": "2", "challenger": None, "last_good": "1"}

    worse = trained(unique_name, mlflow_url, 1, task)
    assert not worse.promotion.promoted
    assert behind(unique_name, mlflow_url) == {"champion": "2", "challenger": "3", "last_good": "1"}
    assert stages(unique_name, mlflow_url) == {"1": "Archived", "2": "Production", "3": "Staging"}


def test_a_version_may_be_promoted_whatever_its_metrics(unique_name: str, mlflow_url: str) -> None:
    trained(unique_name, mlflow_url, 5)
    trained(unique_name, mlflow_url, 1)

    promote(unique_name, "2", tracking_uri=mlflow_url)

    assert behind(unique_name, mlflow_url) == {"champion": "2", "challenger": None, "last_good": "1"}
    with pytest.raises(UserError, match="7"):
        promote(unique_name, "7", tracking_uri=mlflow_url)


def test_the_last_good_version_comes_back(unique_name: str, mlflow_url: str) -> None:
    trained(unique_name, mlflow_url, 1)
    with pytest.raises(UserError, match="has no version to return to"):
        fall_back(unique_name, tracking_uri=mlflow_url)
    trained(unique_name, mlflow_url, 5)

    assert fall_back(unique_name, tracking_uri=mlflow_url) == ("2", "1")

    assert behind(unique_name, mlflow_url) == {"champion": "1", "challenger": None, "last_good": None}
    assert stages(unique_name, mlflow_url) == {"1": "Production", "2": "Archived"}


def test_what_is_registered_predicts_as_what_was_trained(unique_name: str, mlflow_url: str) -> None:
    done = trained(unique_name, mlflow_url, 4, Task.BINARY)
    rows = made_up(Task.BINARY, seed=9)[list(small_recipe(Task.BINARY).inputs)]

    loaded = load_registered(unique_name, "1", tracking_uri=mlflow_url)

    served = done.comparison.served
    assert (loaded.estimator.predict_proba(rows) == served.estimator.predict_proba(rows)).all()
    assert loaded.threshold == served.threshold
