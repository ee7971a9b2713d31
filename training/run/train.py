"""Trains a recipe: finds rows, compares the candidates, registers the one to serve, and promotes it if it is better."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from common.figures import figure
from training.datasets.source import Rows
from training.fitting.fit import Comparison, Progress, compare, headline
from training.fitting.predictions import SCORE_NAMES
from training.fitting.recipe import Recipe
from training.promotion.by_metric import Promotion, promote_if_better
from training.registry.log_model import LoggedModel, log_and_register


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    rows: Rows
    comparison: Comparison
    logged: LoggedModel
    promotion: Promotion

    def as_json(self) -> dict[str, Any]:
        """For machines: the version, its metrics, and what was compared."""
        return {
            "name": self.logged.name,
            "version": self.logged.version,
            "model": self.comparison.served.name,
            "metrics": self.comparison.served.metrics,
            "compared": {r.name: {"cv_score": r.score, **r.metrics} for r in self.comparison.results},
            "promotion": asdict(self.promotion),
            "rows": {"origin": self.rows.origin, "generated": self.rows.generated, "sha256": self.rows.sha256},
            "run_id": self.logged.run_id,
            "tracking_uri": self.logged.tracking_uri,
        }


def train(
    recipe: Recipe,
    rows: Rows,
    *,
    seed: int = 0,
    tries: int | None = None,
    tracking_uri: str | None = None,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train and register a model.

    Args:
        recipe: what to learn.
        rows: from which rows.
        seed: of folds and search.
        tries: parameter sets to try for each candidate; None: as the recipe says.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.
        progress: told of each candidate.

    Raises:
        UserError: the rows do not fit, or MLflow rejects a request.
        DependencyDownError: MLflow does not answer.
    """
    asked = recipe if tries is None else replace(recipe, tries=tries)
    comparison = compare(asked, rows.frame, seed=seed, progress=progress)
    logged = log_and_register(recipe, rows, comparison, tracking_uri=tracking_uri)
    promotion = promote_if_better(recipe, logged.version, comparison.split.test, tracking_uri=tracking_uri)
    return Trained(rows, comparison, logged, promotion)


def table(recipe: Recipe, comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """A row for each candidate: name, score of the cross-validation, metric on the test rows, remark."""
    return [
        (
            result.name,
            f"{SCORE_NAMES[recipe.task]} {figure(abs(result.score))} ± {figure(result.deviation)}",
            f"{metric} {figure(value)}",
            _remark(result is comparison.served, result.repeatable),
        )
        for result in comparison.results
        for metric, value in [headline(recipe, result)]
    ]


def _remark(served: bool, repeatable: bool) -> str:
    if served:
        return "registered"
    return "" if repeatable else "differs by batch"


def role(promoted: bool) -> str:
    """What a version is after its training, in text."""
    return "champion" if promoted else "challenger: the champion is better"
