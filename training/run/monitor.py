"""Watches the rows that a model gets: reports drift, and trains again where there is a reason."""

from pathlib import Path

import pandas as pd

from common.errors import UserError
from common.text import shown
from training.fitting.fit import split_rows
from training.fitting.predictions import measure, predict
from training.fitting.recipe import Recipe
from training.monitoring.rows.drift import Decision, compare_rows, decide
from training.monitoring.rows.report import write_row_report
from training.promotion.by_metric import CHAMPION
from training.registry.load_model import load_registered
from training.registry.register import version_behind
from worker.config.task import Task

PREDICTION = "prediction"
_ERROR = {Task.REGRESSION: "mae", Task.BINARY: "log_loss", Task.MULTICLASS: "log_loss"}
"""The metric of which more is worse."""


def monitor_rows(
    recipe: Recipe,
    trained_on: pd.DataFrame,
    recent: pd.DataFrame,
    directory: Path,
    *,
    tracking_uri: str | None = None,
) -> Decision:
    """Compare recent rows, and the champion's predictions for them, with those of the training; write a report.

    Args:
        recipe: of the model.
        trained_on: all rows of the training.
        recent: recent rows; with the target, if the truth of all of them is known.
        directory: gets `drift.png` and `drift.json`.
        tracking_uri: MLflow's address.

    Raises:
        UserError: there is no champion, or there are too few rows.
    """
    version = version_behind(recipe.name, CHAMPION, tracking_uri=tracking_uri)
    if version is None:
        raise UserError(f"there is no {recipe.name}@{CHAMPION} in MLflow; run `hazardstream {recipe.name} train` first")
    if missing := [name for name in recipe.inputs if name not in recent.columns]:
        raise UserError(f"the recent rows have no column {shown(', '.join(missing), 200)}")
    model = load_registered(recipe.name, version, tracking_uri=tracking_uri)
    # Training rows would make the predictions look better than they are on any new row.
    before = split_rows(recipe, trained_on).test
    own = [predict(model.estimator, recipe.task, rows[recipe.inputs]) for rows in (before, recent)]
    metric, error_now = _ERROR[recipe.task], None
    if recipe.target in recent.columns and recent[recipe.target].notna().all():
        error_now = measure(recipe.task, recent[recipe.target], own[1], model.threshold)[metric]
    before, recent = (
        rows[recipe.inputs].assign(**{PREDICTION: found.value})
        for rows, found in zip((before, recent), own, strict=True)
    )
    columns = compare_rows(before, recent, [*recipe.numbers, PREDICTION], recipe.categories)
    decision = decide(columns, error_before=model.card.get("metrics", {}).get(metric), error_now=error_now)
    write_row_report(
        decision, before, recent, directory, model=recipe.name, model_version=version, metric=metric, error=error_now
    )
    return decision
