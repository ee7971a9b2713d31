"""The model stage: which readings the model can score, and what it says of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.arrays import Int
from worker.model.contract import Features, Model, Prediction, Task


class Predicted(NamedTuple):
    """What a model says of a batch.

    Attributes:
        rows: those of the batch that were scored, shape [n].
        prediction: of these rows.
        refused: all other rows, and why the model cannot score them.
    """

    rows: Int
    prediction: Prediction
    refused: dict[int, str]


def predict(model: Model, features: Features) -> Predicted:
    """Score all rows that have what the model requires.

    Raises:
        ModelFailedError: the model fails.
    """
    refused = _incomplete(model, features)
    rows = np.arange(len(features))
    if refused:
        rows = np.delete(rows, list(refused))
        features = features.take(rows)
    prediction = model.predict(features) if len(rows) else _nothing(model)
    if prediction.unscored:
        refused |= {int(rows[row]): why for row, why in prediction.unscored.items()}
        kept = np.delete(np.arange(len(rows)), list(prediction.unscored))
        prediction, rows = prediction.take(kept), rows[kept]
    return Predicted(rows, prediction, refused)


def _incomplete(model: Model, features: Features) -> dict[int, str]:
    """Rows that lack an input that the model requires."""
    required = {each.name for each in model.inputs if each.required}
    lacking: dict[int, str] = {}
    for name, rows in _missing(model, features) if required else ():
        if name in required:
            text = f"{name} is missing, and model {model.name} {model.version} requires it"
            lacking |= {row: text for row in rows if row not in lacking}
    return lacking


def _missing(model: Model, features: Features) -> Iterator[tuple[str, list[int]]]:
    """Inputs with missing values, and the rows of these."""
    missing = np.isnan(features.numbers)
    for at in np.flatnonzero(missing.any(axis=0)).tolist():
        yield model.numeric[at], np.flatnonzero(missing[:, at]).tolist()
    for name, texts in features.categories.items():
        yield name, [row for row, text in enumerate(texts.tolist()) if text is None]


def _nothing(model: Model) -> Prediction:
    if model.task is not Task.MULTICLASS:
        return Prediction(np.empty(0))
    return Prediction(np.empty(0), np.empty(0, np.int64), np.empty((0, len(model.classes))))
