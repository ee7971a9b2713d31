"""The answer to a request: its predictions as JSON values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Int
from worker.alarms.rules import NOT_ASSESSABLE
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model, ModelFailedError, Prediction, Task
from worker.score.outcome import Scored
from worker.score.readings import Readings


@dataclass(frozen=True)
class Answer:
    """The result of a request: its predictions, in the order of their rows, and how many rows it had."""

    predictions: list[dict[str, Any]]
    rows: int


def described(
    model: Model,
    threshold: float,
    features: Features,
    prediction: Prediction,
    reasons: Sequence[str | None],
    *,
    explain: bool,
) -> list[dict[str, Any]]:
    """What the model says of each row, by its task; `reasons`: why it cannot judge the row, None where it can.

    Raises:
        ModelFailedError: the model fails.
    """
    value = prediction.value.tolist()
    found: list[dict[str, Any]]
    if model.task is Task.BINARY:
        found = [{"probability": p, "positive": p >= threshold, "threshold": threshold} for p in value]
    elif model.task is Task.REGRESSION:
        found = [{"value": v, "error_band": model.error_band} for v in value]
    else:
        found = _multiclass(model, prediction)
    if model.assessable is not None:
        for each, why in zip(found, reasons, strict=True):
            each[NOT_ASSESSABLE] = why
            if why is not None and "positive" in each:
                each["positive"] = False
    if explain and (parts := model.contributions(features)) is not None:
        names = [each.name for each in model.inputs]
        for each, mine, bias in zip(found, parts.parts.tolist(), parts.bias.tolist(), strict=True):
            each |= {"contributions": dict(zip(names, mine, strict=True)), "bias": bias}
    return found


def with_readings(
    pipeline: Pipeline, scored: Scored, at: Int, first_row: int, found: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Predictions with the identity of their readings, and with what the stages did to them.

    Args:
        pipeline: names the fields.
        scored: of a batch.
        at: which of the scored readings, shape [n].
        first_row: row of the request's first reading in the batch.
        found: their predictions.
    """
    sensors = pipeline.input.sensors()
    columns = {
        "row": (scored.readings.row[at] - first_row).tolist(),
        **_identity(pipeline, scored.readings, at),
        "readings_in_window": scored.in_window[at].tolist(),
        "imputed": _names(scored.imputed[at], sensors),
        "masked": _names(scored.masked[at], (*sensors, *pipeline.input.categories())),
    }
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) | its for row, its in zip(rows, found, strict=True)]


def _identity(pipeline: Pipeline, readings: Readings, at: Int) -> dict[str, list[Any]]:
    """Key, group and time, as far as the record has fields of them."""
    source, found = pipeline.input, dict[str, list[Any]]()
    if source.key_field is not None:
        found[source.key_field] = [readings.key[i] for i in at.tolist()]
    if source.group_field is not None:
        found[source.group_field] = [readings.group[i] for i in at.tolist()]
    if source.time_field is not None:
        found[source.time_field] = readings.ts[at].tolist()
    return found


def _multiclass(model: Model, prediction: Prediction) -> list[dict[str, Any]]:
    if prediction.label is None or prediction.probabilities is None:
        raise ModelFailedError(model, "gives no class")
    return [
        {
            "predicted_class": model.classes[label],
            "probability": p,
            "probabilities": dict(zip(model.classes, of, strict=True)),
        }
        for label, p, of in zip(
            prediction.label.tolist(), prediction.value.tolist(), prediction.probabilities.tolist(), strict=True
        )
    ]


def _names(flags: NDArray[np.bool_], names: Sequence[str]) -> list[list[str]]:
    if not flags.any():
        return [[] for _ in range(len(flags))]
    return [[name for name, flag in zip(names, row, strict=True) if flag] for row in flags.tolist()]
