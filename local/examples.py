"""The pipelines that `hazardstream run` knows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console

from local.churn_example import alarms_and_finished_features
from local.drift_example import drift_and_retraining
from local.promotion_example import promotion_and_fallback
from local.stage import Stage
from pipelines.absenteeism.recipe import RECIPE as ABSENTEEISM
from pipelines.churn.recipe import RECIPE as CHURN
from pipelines.churn.recipe import replay_of_new_users
from pipelines.housing.recipe import RECIPE as HOUSING
from pipelines.tabular.recipe import RECIPE as TABULAR
from training.fitting.recipe import Recipe
from training.run.replay import Replay, replay_of_training
from training.run.train import Trained
from worker.config.pipeline import Pipeline


@dataclass(frozen=True)
class Example:
    """A pipeline and how it is shown.

    Attributes:
        recipe: of its model.
        replay: makes the records to publish.
        after: shows more, once the replay is checked; returns what the last line says of it.
    """

    recipe: Recipe
    replay: Callable[[Recipe, Trained, Pipeline], Replay] = replay_of_training
    after: Callable[[Stage, Trained, Console], dict[str, Any]] | None = None


EXAMPLES = {
    example.recipe.name: example
    for example in (
        Example(ABSENTEEISM),
        Example(CHURN, replay_of_new_users, alarms_and_finished_features),
        Example(HOUSING, after=drift_and_retraining),
        Example(TABULAR, after=partial(promotion_and_fallback, TABULAR)),
    )
}
