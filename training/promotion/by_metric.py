"""Promotes a version that predicts the test rows at least as well as the champion, and returns to the last good one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from common.errors import UserError
from training.fitting.predictions import HEADLINE, measure, predict
from training.fitting.recipe import Recipe
from training.registry.load_model import load_registered
from training.registry.log_model import fluent_mlflow
from training.registry.register import store_of, version_behind
from worker.config.task import Task

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, LAST_GOOD = "champion", "challenger", "last_good"
_STAGES = {CHAMPION: "Production", CHALLENGER: "Staging", LAST_GOOD: "Archived"}
"""Older clients find versions by stage. MLflow keeps both, and recommends aliases."""


@dataclass(frozen=True)
class Promotion:
    """What became of a version.

    Attributes:
        promoted: whether it is the champion now. Otherwise it is the challenger.
        metric: by which the versions were compared.
        found: value of the metric by version.
    """

    version: str
    promoted: bool
    metric: str
    found: dict[str, float]


def promote_if_better(
    recipe: Recipe, version: str, test: pd.DataFrame, *, tracking_uri: str | None = None
) -> Promotion:
    """Make a version the champion if there is none, or if it is at least as good on the test rows.

    The champion before becomes `last_good`. A version that is worse becomes the challenger.

    Args:
        recipe: of the model.
        version: registered, without an alias yet.
        test: rows that the version was not fitted to.
        tracking_uri: MLflow's address.
    """
    metric = HEADLINE[recipe.task]
    champion = version_behind(recipe.name, CHAMPION, tracking_uri=tracking_uri)
    compared = [version] if champion in {None, version} else [version, str(champion)]
    found = {one: _measured(recipe, one, test, tracking_uri)[metric] for one in compared}
    sign = -1 if recipe.task == Task.REGRESSION else 1
    promoted = champion is None or sign * found[version] >= sign * found[champion]
    if promoted:
        promote(recipe.name, version, tracking_uri=tracking_uri)
    else:
        with fluent_mlflow(store_of(tracking_uri)) as client:
            _point(client, recipe.name, CHALLENGER, version)
    return Promotion(version, promoted, metric, found)


def promote(name: str, version: str, *, tracking_uri: str | None = None) -> None:
    """Make a version the champion, whatever its metrics; the champion before becomes `last_good`.

    Raises:
        UserError: there is no such version.
        DependencyDownError: MLflow does not answer.
    """
    champion, challenger = (version_behind(name, a, tracking_uri=tracking_uri) for a in (CHAMPION, CHALLENGER))
    with fluent_mlflow(store_of(tracking_uri)) as client:
        client.get_model_version(name, version)
        if champion not in {None, version}:
            _point(client, name, LAST_GOOD, str(champion))
        _point(client, name, CHAMPION, version)  # workers follow it
        if challenger == version:
            client.delete_registered_model_alias(name, CHALLENGER)


def fall_back(name: str, *, tracking_uri: str | None = None) -> tuple[str, str]:
    """Point the champion's alias to the last good version again. Returns the version left and the version now.

    Raises:
        UserError: there is no champion or no version before it.
        DependencyDownError: MLflow does not answer.
    """
    champion, last = (version_behind(name, alias, tracking_uri=tracking_uri) for alias in (CHAMPION, LAST_GOOD))
    if champion is None or last is None or champion == last:
        raise UserError(
            f"{name} has no version to return to (champion: {champion}, {LAST_GOOD}: {last}); "
            f"set the alias {CHAMPION} in MLflow yourself"
        )
    with fluent_mlflow(store_of(tracking_uri)) as client:
        _point(client, name, CHAMPION, last)
        client.delete_registered_model_alias(name, LAST_GOOD)
        client.transition_model_version_stage(name, champion, "Archived")
    return champion, last


def _point(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    client.transition_model_version_stage(name, version, _STAGES[alias])
    client.set_registered_model_alias(name, alias, version)


def _measured(recipe: Recipe, version: str, test: pd.DataFrame, tracking_uri: str | None) -> dict[str, float]:
    model = load_registered(recipe.name, version, tracking_uri=tracking_uri)
    found = predict(model.estimator, recipe.task, test[recipe.inputs])
    return measure(recipe.task, test[recipe.target], found, model.threshold)
