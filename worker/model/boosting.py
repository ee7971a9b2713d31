"""Loads XGBoost models, with an XGBoost that does not import scikit-learn until a model needs it.

XGBoost imports scikit-learn for its own estimators, which few models need. That import takes a third of a worker's
start-up time.
"""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.arrays import Float
from worker.model.contract import Contributions

# None makes Python treat a module as not installed, which XGBoost handles.
_KEPT_OUT = {"sklearn": None} if "sklearn" not in sys.modules else {}

sys.modules |= _KEPT_OUT  # type: ignore[arg-type]  # documented use of None
try:
    import xgboost
finally:
    for _name in _KEPT_OUT:
        del sys.modules[_name]

__all__ = ["UnfitBoosterError", "exact_contributions", "load_booster", "read_booster", "with_estimators", "xgboost"]

OBJECTIVE = "binary:logistic"
_LARGEST = float(np.finfo(np.float32).max)
_KINDS = {"gbtree", "dart"}
# A split on categories lists them, in UBJSON or as JSON text.
_CATEGORIES = re.compile(rb'categories_nodes(?:\[\$l#L(?!\0{8})|":\s*\[\s*\d)')
# The version is the last entry of a booster in UBJSON: three numbers of one or two bytes each.
_VERSION = re.compile(rb"version\[#L\0{7}\x03(?:[iU](.)|I(..))(?:[iU](.)|I(..))", re.DOTALL)


class UnfitBoosterError(Exception):
    """XGBoost can read the booster, but it cannot compute a probability from these features."""


def load_booster(content: bytes, names: Sequence[str]) -> xgboost.Booster:
    """Load a booster and check that it fits the features.

    Args:
        content: the content of booster.ubj.
        names: the features, in the order of its columns.

    Raises:
        UnfitBoosterError: it has another objective or other features.
        ValueError: XGBoost cannot read it.
    """
    booster, learner = read_booster(content)
    objective = learner["objective"]["name"]
    if objective != OBJECTIVE:
        raise UnfitBoosterError(
            f"its objective is {objective}, but a probability needs {OBJECTIVE}; train it with that objective"
        )
    if (columns := booster.num_features()) != len(names):
        raise UnfitBoosterError(f"it was trained on {columns} features, but features.json has {len(names)}")
    if booster.feature_names is not None and booster.feature_names != list(names):
        at = next(i for i, pair in enumerate(zip(booster.feature_names, names, strict=True)) if pair[0] != pair[1])
        raise UnfitBoosterError(
            f"its column {at} is {booster.feature_names[at]!r}, but in features.json it is {names[at]!r}; "
            "train it on these features in this order"
        )
    return booster


def read_booster(content: bytes) -> tuple[xgboost.Booster, dict[str, Any]]:
    """Load a booster of trees over numbers, for one thread; return it and the configuration of its learner.

    Raises:
        UnfitBoosterError: it is not made of trees, or splits on categories.
        ValueError: XGBoost cannot read it.
    """
    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ValueError(f"XGBoost cannot read it: {reason[-1] if reason else error!r}{_newer(content)}") from error
    booster.set_param({"nthread": 1})
    learner = json.loads(booster.save_config())["learner"]
    if (kind := learner["gradient_booster"]["name"]) not in _KINDS:
        raise UnfitBoosterError(f"it is a {kind}, which cannot handle missing values; train a gbtree or dart")
    if "c" in (booster.feature_types or []) or _CATEGORIES.search(content):
        raise UnfitBoosterError("it treats features as categories, but all features are numbers; train it on numbers")
    return booster, learner


def exact_contributions(booster: xgboost.Booster, rows: Float, trees: tuple[int, int] = (0, 0)) -> Contributions:
    """Exact SHAP contributions of each column of the rows [n, f] to the booster's sum of trees.

    Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees": TreeSHAP, as
    built into XGBoost.

    Args:
        booster: of one output.
        rows: as the booster takes them; NaN where missing.
        trees: first iteration, and the one after the last; (0, 0): all.
    """
    # A DMatrix refuses values beyond single precision. No split lies there, so clipping changes no path.
    matrix = xgboost.DMatrix(np.clip(rows, -_LARGEST, _LARGEST), missing=np.nan, nthread=1)
    parts = np.asarray(
        booster.predict(matrix, pred_contribs=True, validate_features=False, iteration_range=trees), np.float64
    )
    return Contributions(parts[:, :-1], parts[:, -1])


def with_estimators() -> None:
    """Let XGBoost find scikit-learn after all, for a pickled model that has one of XGBoost's estimators in it."""
    if not xgboost.compat.SKLEARN_INSTALLED:
        importlib.reload(xgboost.compat)
        importlib.reload(xgboost.sklearn)


def _newer(content: bytes) -> str:
    """The remedy if a newer XGBoost wrote the booster; empty otherwise."""
    found = list(_VERSION.finditer(content, max(len(content) - 100, 0)))
    if not found:
        return ""
    major, long_major, minor, long_minor = found[-1].groups()
    written = int.from_bytes(major or long_major, "big"), int.from_bytes(minor or long_minor, "big")
    installed = tuple(map(int, xgboost.__version__.split(".")[:2]))
    if written <= installed:
        return ""
    return f"; XGBoost {written[0]}.{written[1]} has written it, and {xgboost.__version__} is installed: install that"
