"""What an estimator itself predicts for rows, and how good that is."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from worker.config.task import Task
from worker.model.contract import DEFAULT_THRESHOLD, Prediction

SCORING = {
    Task.BINARY: "roc_auc",
    Task.MULTICLASS: "neg_log_loss",
    Task.REGRESSION: "neg_mean_absolute_error",
}
"""By which score of scikit-learn candidates of a task are compared; more is better."""
SCORE_NAMES = {Task.BINARY: "auc", Task.MULTICLASS: "log_loss", Task.REGRESSION: "mae"}
"""What the absolute value of that score is."""
HEADLINE = {Task.BINARY: "auc", Task.MULTICLASS: "accuracy", Task.REGRESSION: "mae"}
"""The metric of `measure` that stands for a task."""
_ROWS_TRIED = 64


def predict(estimator: Any, task: Task, frame: pd.DataFrame) -> Prediction:
    """Predict by the estimator's own `predict` or `predict_proba`.

    Args:
        estimator: fitted.
        task: what it predicts.
        frame: its input columns.
    """
    if task == Task.REGRESSION:
        return Prediction(np.asarray(estimator.predict(frame), np.float64))
    probabilities = np.asarray(estimator.predict_proba(frame), np.float64)
    if task == Task.BINARY:
        return Prediction(probabilities[:, 1])
    label = probabilities.argmax(axis=1)
    return Prediction(probabilities[np.arange(len(label)), label], label, probabilities)


def measure(task: Task, truth: Any, found: Prediction, threshold: float | None = None) -> dict[str, float]:
    """Metrics of predictions.

    Args:
        task: what is predicted.
        truth: the true values, or indices of the true classes [n].
        found: the predictions.
        threshold: probability from which a row is positive, for a binary task.
    """
    if task == Task.REGRESSION:
        values = {
            "mae": metrics.mean_absolute_error(truth, found.value),
            "rmse": metrics.root_mean_squared_error(truth, found.value),
            "r2": metrics.r2_score(truth, found.value),
        }
    elif task == Task.BINARY:
        positive = found.value >= (DEFAULT_THRESHOLD if threshold is None else threshold)
        values = {
            "auc": metrics.roc_auc_score(truth, found.value),
            "average_precision": metrics.average_precision_score(truth, found.value),
            "log_loss": metrics.log_loss(truth, found.value, labels=[0, 1]),
            "precision": metrics.precision_score(truth, positive, zero_division=0.0),
            "recall": metrics.recall_score(truth, positive, zero_division=0.0),
            "accuracy": metrics.accuracy_score(truth, positive),
        }
    else:
        if found.probabilities is None:
            raise ValueError("a multiclass prediction has a probability of each class")
        probabilities = found.probabilities / found.probabilities.sum(axis=1, keepdims=True)
        values = {
            "accuracy": metrics.accuracy_score(truth, found.label),
            "f1_macro": metrics.f1_score(truth, found.label, average="macro"),
            "log_loss": metrics.log_loss(truth, probabilities, labels=list(range(probabilities.shape[1]))),
        }
    return {name: float(value) for name, value in values.items()}


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
        if whole is not None and single is not None
    )


def required_inputs(estimator: Any, task: Task, frame: pd.DataFrame) -> set[str]:
    """The input columns without which the estimator cannot predict: a missing value is an error, or no finite result.

    Args:
        estimator: fitted.
        task: what it predicts.
        frame: rows of its input columns.
    """
    row, required = frame.head(1), set()
    for name in frame.columns:
        without = row.assign(**{name: pd.Series([None], row.index, row[name].dtype)})
        try:
            found = predict(estimator, task, without)
        except ValueError:
            required.add(name)
        else:
            required |= set() if np.isfinite(found.value).all() else {name}
    return required
