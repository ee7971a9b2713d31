"""What MLflow holds of a trained recipe: runs, signature, model card, and a version that names its data."""

import json
from dataclasses import replace

import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from tests.recipes import NUMBERS, small_recipe
from training.fitting.fit import compare
from training.fitting.recipe import Candidate
from training.registry.log_model import fluent_mlflow
from training.registry.model_card import as_markdown, model_card
from training.run.train import train
from worker.config.task import Task


def test_runs_signature_and_card_are_logged(unique_name: str, mlflow_url: str) -> None:
    from mlflow.models import get_model_info  # noqa: PLC0415 - takes seconds

    recipe = small_recipe(Task.REGRESSION, unique_name)
    done = train(recipe, recipe.rows(None, 0), tracking_uri=mlflow_url)

    with fluent_mlflow(mlflow_url) as client:
        run = client.get_run(done.logged.run_id)
        children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{done.logged.run_id}'")
        version = client.get_model_version(unique_name, "1")
        info = get_model_info(version.source)
        files = {file.path for file in client.list_artifacts(done.logged.run_id)}
    assert {child.info.run_name for child in children} == {"guess", "tree", "linear"}
    assert run.data.metrics == done.comparison.served.metrics
    assert run.data.tags["data"] == "made up"
    assert files >= {"model_card.json", "model_card.md"}
    assert version.description.startswith(f"# {unique_name}: {done.comparison.served.name}")
    assert info.signature.inputs.input_names() == list(NUMBERS)
    assert info.metadata["error_band"] == done.comparison.served.metrics["mae"]
    assert info.metadata["task"] == "regression"
    assert json.loads(json.dumps(info.metadata)) == info.metadata


def test_the_card_names_all_parts_of_the_model_and_the_error_band() -> None:
    recipe = small_recipe(Task.REGRESSION)
    comparison = compare(recipe, recipe.rows(None, 0).frame)

    card = model_card(recipe, recipe.rows(None, 0), comparison)
    page = as_markdown(card)

    assert card["n_features"] == len(NUMBERS)
    assert card["training_rows"] + card["test_rows"] == 300
    assert f"± {card['error_band']:.3g}" in page
    assert all(f"| {name} |" in page for name in ("guess", "tree", "linear"))


@pytest.mark.parametrize(
    ("estimator", "steps"),
    [
        (DecisionTreeRegressor(), "DecisionTreeRegressor"),
        (
            make_pipeline(ColumnTransformer([("n", StandardScaler(), list(NUMBERS))]), DecisionTreeRegressor()),
            "StandardScaler → DecisionTreeRegressor",
        ),
    ],
)
def test_the_card_names_scalers_and_estimators(estimator: object, steps: str) -> None:
    recipe = replace(small_recipe(Task.REGRESSION), candidates=(Candidate("one", estimator),))
    rows = recipe.rows(None, 0)

    assert model_card(recipe, rows, compare(recipe, rows.frame))["estimator"] == steps


def test_a_registry_that_follows_the_tracking_uri_still_does_afterwards(mlflow_url: str) -> None:
    import mlflow  # noqa: PLC0415 - takes seconds

    before, other = mlflow.get_tracking_uri(), "http://127.0.0.1:1"
    with fluent_mlflow(mlflow_url):
        assert mlflow.get_registry_uri() == mlflow_url
    try:
        mlflow.set_tracking_uri(other)
        assert mlflow.get_registry_uri() == other
    finally:
        mlflow.set_tracking_uri(before)
