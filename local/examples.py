"""The pipelines that `hazardstream run` knows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.absenteeism.recipe import RECIPE as ABSENTEEISM
from training.fitting.recipe import Recipe
from training.run.replay import Replay, replay_of_rows
from training.run.train import Trained
from worker.config.pipeline import Pipeline

if TYPE_CHECKING:
    from rich.console import Console

    from local.run_pipeline import Stage


@dataclass(frozen=True)
class Example:
    """A pipeline and how it is shown.

    Attributes:
        recipe: of its model.
        replay: makes the records to publish.
        after: shows more, once the replay is checked; returns what the last line says of it.
    """

    recipe: Recipe
    replay: Callable[[Recipe, Trained, Pipeline], Replay] = replay_of_rows
    after: "Callable[[Stage, Trained, Console], dict[str, Any]] | None" = None


EXAMPLES = {ABSENTEEISM.name: Example(ABSENTEEISM)}
