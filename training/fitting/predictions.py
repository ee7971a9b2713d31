"""What an estimator itself predicts for rows, and how good that is."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import metrics

from common.arrays import Float
from training.fitting.recipe import Task

SCORING = {"binary": "roc_auc", "multiclass": "neg_log_loss", "regression": "neg_mean_absolute_error"}
"""By which score of scikit-learn candidates of a task are compared; more is better."""
HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}
"""The metric of `measure` that stands for a task."""
_ROWS_TRIED = 64


class Offline(NamedTuple):
    """An estimator's own predictions.

    Attributes:
        value: the predicted value, the probability of the positive class, or that of the most probable class [n].
        label: index of the predicted class [n]; None for a regression.
        probabilities: of each class [n, classes]; None for a regression.
    """

    value: Float
    label: Any = None
    probabilities: Float | None = None


def predict(estimator: Any, task: Task, frame: pd.DataFrame, threshold: float | None = None) -> Offline:
    """Predict by the estimator's own `predict` or `predict_proba`.

    Args:
        estimator: fitted.
        task: what it predicts.
        frame: its input columns.
        threshold: probability from which a row is positive, for a binary task; default 0.5.
    """
    if task == "regression":
        return Offline(np.asarray(estimator.predict(frame), np.float64))
    # The probabilities as they are: float32 of some libraries, which a double holds exactly.
    probabilities = np.asarray(estimator.predict_proba(frame), np.float64)
    if task == "binary":
        value = probabilities[:, 1]
        return Offline(value, (value >= (0.5 if threshold is None else threshold)).astype(np.int64), probabilities)
    label = probabilities.argmax(axis=1)
    return Offline(probabilities[np.arange(len(label)), label], label, probabilities)


def measure(task: Task, truth: Any, offline: Offline) -> dict[str, float]:
    """Metrics of predictions.

    Args:
        task: what is predicted.
        truth: the true values, or indices of the true classes [n].
        offline: the predictions.
    """
    if task == "regression":
        found = {
            "mae": metrics.mean_absolute_error(truth, offline.value),
            "rmse": metrics.root_mean_squared_error(truth, offline.value),
            "r2": metrics.r2_score(truth, offline.value),
        }
    elif task == "binary":
        found = {
            "auc": metrics.roc_auc_score(truth, offline.value),
            "average_precision": metrics.average_precision_score(truth, offline.value),
            "log_loss": metrics.log_loss(truth, offline.value, labels=[0, 1]),
            "precision": metrics.precision_score(truth, offline.label, zero_division=0.0),
            "recall": metrics.recall_score(truth, offline.label, zero_division=0.0),
            "accuracy": metrics.accuracy_score(truth, offline.label),
        }
    else:
        classes = range(offline.probabilities.shape[1] if offline.probabilities is not None else 0)
        found = {
            "accuracy": metrics.accuracy_score(truth, offline.label),
            "f1_macro": metrics.f1_score(truth, offline.label, average="macro"),
            "log_loss": metrics.log_loss(truth, offline.probabilities, labels=list(classes)),
        }
    return {name: float(value) for name, value in found.items()}


def depends_on_batch(estimator: Any, task: Task, frame: pd.DataFrame) -> bool:
    """Whether a row's prediction depends, in any bit, on the rows that are predicted with it.

    A worker that replaces another forms other batches. With such a model its predictions would not be the same. Linear
    models are such: a matrix product sums in an order that depends on the size of the matrix.
    """
    some = frame.head(_ROWS_TRIED)
    together = predict(estimator, task, some)
    alone = [predict(estimator, task, some.iloc[[n]]) for n in range(len(some))]
    return any(
        not np.array_equal(whole[n : n + 1], single)
        for n, one in enumerate(alone)
        for whole, single in ((together.value, one.value), (together.probabilities, one.probabilities))
        if whole is not None
    )
