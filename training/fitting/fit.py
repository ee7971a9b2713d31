"""Tunes, compares and fits the candidates of a recipe. Same rows and seed, same result."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    train_test_split,
)
from threadpoolctl import threadpool_limits

from common.errors import UserError
from common.text import shown
from training.fitting.predictions import HEADLINE, SCORING, depends_on_batch, measure, predict
from training.fitting.recipe import Candidate, Recipe
from worker.config.task import Task

_TEST_SHARE, _SPLIT_SEED = 0.2, 0

Progress = Callable[[str, int, int], None]
"""Called with a stage, the steps done and the total."""


@dataclass(frozen=True)
class Split:
    """Rows to train with and rows to test with, in the order of the source."""

    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Result:
    """A candidate after its tuning.

    Attributes:
        estimator: fitted to all training rows.
        parameters: the best found.
        score: mean over the folds of training rows of the task's score in `SCORING`; more is better.
        deviation: of the score over the folds.
        threshold: probability from which a row is positive, chosen on the training rows; None but for a binary task.
        metrics: on the test rows.
        repeatable: whether it predicts a row alike in each batch, see `depends_on_batch`.
    """

    name: str
    estimator: Any
    parameters: dict[str, Any]
    score: float
    deviation: float
    threshold: float | None
    metrics: dict[str, float]
    repeatable: bool


@dataclass(frozen=True)
class Comparison:
    """All candidates, best score first, and the one to serve.

    Attributes:
        served: the best that is repeatable, or the one that the recipe names.
    """

    results: tuple[Result, ...]
    served: Result
    split: Split


def split_rows(recipe: Recipe, frame: pd.DataFrame) -> Split:
    """Set a fifth of the rows aside for the test: the same ones each time, so that versions can be compared on them.

    Raises:
        UserError: a column is missing.
    """
    wanted = [*recipe.inputs, recipe.target, *([recipe.split_by] if recipe.split_by else [])]
    if missing := [name for name in wanted if name not in frame.columns]:
        raise UserError(f"the rows have no column {shown(', '.join(missing), 200)}; {recipe.name} needs it")
    at = np.arange(len(frame))
    if recipe.split_by is not None:
        splitter = GroupShuffleSplit(1, test_size=_TEST_SHARE, random_state=_SPLIT_SEED)
        _, test = next(splitter.split(at, groups=frame[recipe.split_by]))
    else:
        stratify = None if recipe.task == Task.REGRESSION else frame[recipe.target]
        _, test = train_test_split(at, test_size=_TEST_SHARE, random_state=_SPLIT_SEED, stratify=stratify)
    held_out = np.isin(at, test)
    return Split(frame[~held_out], frame[held_out])


def compare(recipe: Recipe, frame: pd.DataFrame, *, seed: int = 0, progress: Progress = lambda *_: None) -> Comparison:
    """Tune each candidate by cross-validation on the training rows, and test it on the others.

    Args:
        recipe: what to learn.
        frame: all rows.
        seed: of folds and search.
        progress: told of each candidate.

    Raises:
        UserError: a column is missing, or no candidate can be served.
    """
    split = split_rows(recipe, frame)
    results = []
    # On few rows, threads wait for each other longer than they work. Probabilities in float32 sum to 1 only nearly.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore", category=UserWarning):
        for number, candidate in enumerate(recipe.candidates):
            progress("comparing", number, len(recipe.candidates))
            results.append(_tuned(recipe, candidate, split, seed))
    progress("comparing", len(results), len(results))
    results.sort(key=lambda result: -result.score)
    wanted = [r for r in results if r.repeatable and recipe.served in {None, r.name}]
    if not wanted:
        raise UserError(
            f"{recipe.name}: the prediction of a row depends on its batch in each candidate that may be served; "
            "add a model that predicts row by row, such as trees"
        )
    return Comparison(tuple(results), wanted[0], split)


def _tuned(recipe: Recipe, candidate: Candidate, split: Split, seed: int) -> Result:
    rows, target = split.train[recipe.inputs], split.train[recipe.target]
    folds = _folds(recipe, split.train, seed)
    search = RandomizedSearchCV(
        candidate.estimator,
        dict(candidate.space),
        n_iter=_tries(recipe, candidate),
        scoring=SCORING[recipe.task],
        cv=folds,
        random_state=seed,
        error_score="raise",
    )
    search.fit(rows, target)
    estimator, best = search.best_estimator_, search.best_index_
    threshold = _threshold(estimator, rows, target, folds) if recipe.task == Task.BINARY else None
    tested = predict(estimator, recipe.task, split.test[recipe.inputs])
    return Result(
        candidate.name,
        estimator,
        {name: _plain(value) for name, value in search.best_params_.items()},
        float(search.best_score_),
        float(search.cv_results_["std_test_score"][best]),
        threshold,
        measure(recipe.task, split.test[recipe.target], tested, threshold),
        not depends_on_batch(estimator, recipe.task, split.test[recipe.inputs]),
    )


def _folds(recipe: Recipe, train: pd.DataFrame, seed: int) -> list[tuple[Any, Any]]:
    groups = None if recipe.split_by is None else train[recipe.split_by]
    kind: BaseCrossValidator
    if groups is not None:
        kind = GroupKFold(recipe.folds, shuffle=True, random_state=seed)
    elif recipe.task == Task.REGRESSION:
        kind = KFold(recipe.folds, shuffle=True, random_state=seed)
    else:
        kind = StratifiedKFold(recipe.folds, shuffle=True, random_state=seed)
    return list(kind.split(train, train[recipe.target], groups))


def _tries(recipe: Recipe, candidate: Candidate) -> int:
    """Number of parameter sets: no more than there are if all of them are lists of values."""
    sizes = [len(values) for values in candidate.space.values() if isinstance(values, list)]
    return min(recipe.tries, int(np.prod(sizes))) if len(sizes) == len(candidate.space) else recipe.tries


def _threshold(estimator: Any, rows: pd.DataFrame, target: Any, folds: list[tuple[Any, Any]]) -> float:
    """The probability from which F1 is best, on predictions for rows that the model was not fitted to."""
    held_out = cross_val_predict(clone(estimator), rows, target, cv=folds, method="predict_proba")[:, 1]
    precision, recall, at = precision_recall_curve(target, held_out)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(at[f1[:-1].argmax()])


def _plain(value: Any) -> Any:
    """A parameter as Python's own type, for JSON."""
    return value.item() if isinstance(value, np.generic) else value


def headline(recipe: Recipe, result: Result) -> tuple[str, float]:
    """Name and value of the metric that stands for the task."""
    name = HEADLINE[recipe.task]
    return name, result.metrics[name]
