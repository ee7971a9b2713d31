"""XGBoost models in XGBoost's own format, scored by its `inplace_predict`. No code of their authors runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Float
from worker.model.backends.backend import Backend, refused_types, require_columns
from worker.model.boosting import UnfitBoosterError, exact_contributions, read_booster, xgboost
from worker.model.contract import Contributions, Features, ModelInput, Task
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError
from worker.model.scaler import Scale

_TASKS = {"binary:logistic": Task.BINARY, "multi:softprob": Task.MULTICLASS, "multi:softmax": Task.MULTICLASS}
_REGRESSIONS = ("reg:", "count:", "survival:aft")
# XGBoost's scikit-learn classes stop at the best iteration of early stopping; a plain booster uses all trees.
_ESTIMATORS = "xgboost.sklearn."


def load_xgboost(
    files: ModelFiles, config: Mapping[str, Any], declared: tuple[ModelInput, ...] | None, scale: Scale | None = None
) -> Backend:
    """Load a model of the flavour `xgboost`.

    Args:
        files: of the model.
        config: the flavour's, from the MLmodel file.
        declared: the columns of the signature; None: the model's own names, all of them doubles.
        scale: applied to the columns, in the model's order, before they are scored; None: nothing is.

    Raises:
        PackageError: it cannot be read, has another task, or takes other columns.
    """
    try:
        booster, learner = read_booster(files.file(str(config.get("data"))))
    except UnfitBoosterError as error:
        raise PackageError("wrong_output", f"model {files.origin}: {error}") from error
    except ValueError as error:
        raise PackageError("bad_booster", f"model {files.origin}: {error}") from error
    inputs = _inputs(files, booster, declared)
    objective = learner["objective"]["name"]
    if objective == "multi:softmax":  # gives no probabilities; the trees are the same
        booster.set_param({"objective": "multi:softprob"})
    best = booster.attr("best_iteration") if str(config.get("model_class")).startswith(_ESTIMATORS) else None
    trees = (0, int(best) + 1) if best is not None else (0, 0)
    task = _task(files, objective)

    def scaled(features: Features) -> Float:
        return features.numbers if scale is None else scale(features.numbers)

    def score(features: Features) -> NDArray[Any]:
        return np.asarray(booster.inplace_predict(scaled(features), iteration_range=trees, missing=np.nan))

    def contributions(features: Features) -> Contributions:
        return exact_contributions(booster, scaled(features), trees)

    explained = task is Task.BINARY or objective.startswith("reg:squarederror")
    classes = int(learner["learner_model_param"]["num_class"])
    names = tuple(map(str, range(max(classes, 2)))) if task is not Task.REGRESSION else ()
    return Backend(inputs, (score,), task, names, contributions=contributions if explained else None)


def _inputs(
    files: ModelFiles, booster: xgboost.Booster, declared: tuple[ModelInput, ...] | None
) -> tuple[ModelInput, ...]:
    own = booster.feature_names
    if declared is None:
        if own is None:
            raise PackageError(
                "wrong_signature",
                f"model {files.origin} has neither a signature nor names of its columns; log it again with "
                "the signature that mlflow.models.infer_signature(TRAINING_ROWS, PREDICTIONS) gives",
            )
        declared = tuple(ModelInput(name, "double", required=False) for name in own)
    if texts := refused_types(declared):
        raise PackageError(
            "wrong_signature",
            f"model {files.origin}: {texts} are texts, and an XGBoost model takes numbers; log a scikit-learn pipeline "
            "that encodes them",
        )
    if own is not None:
        return require_columns(files, declared, own)
    if (columns := booster.num_features()) != len(declared):
        raise PackageError(
            "wrong_signature",
            f"model {files.origin} was trained on {columns} columns, and its signature has {len(declared)}; log it "
            "again with a signature of the rows it was trained on",
        )
    return declared


def _task(files: ModelFiles, objective: str) -> Task:
    if objective.startswith(_REGRESSIONS):
        return Task.REGRESSION
    if objective not in _TASKS:
        raise PackageError(
            "wrong_output",
            f"model {files.origin}: its objective {objective} gives neither a probability nor a value of the target; "
            "train it with binary:logistic, multi:softprob or an objective that begins with reg:",
        )
    return _TASKS[objective]
