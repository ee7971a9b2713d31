"""Loads XGBoost models, with an XGBoost that does not import scikit-learn.

XGBoost imports scikit-learn for its own estimators, which the worker does not use. That import takes a third of a
worker's start-up time.
"""

import json
import re
import sys
from collections.abc import Sequence

# None makes Python treat a module as not installed, which XGBoost handles.
_KEPT_OUT = {"sklearn": None} if "sklearn" not in sys.modules else {}

sys.modules |= _KEPT_OUT  # type: ignore[arg-type]  # documented use of None
try:
    import xgboost
finally:
    for _name in _KEPT_OUT:
        del sys.modules[_name]

__all__ = ["UnfitBoosterError", "load_booster", "xgboost"]

OBJECTIVE = "binary:logistic"
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
    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ValueError(f"XGBoost cannot read it: {reason[-1] if reason else error!r}{_newer(content)}") from error
    booster.set_param({"nthread": 1})
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    if objective != OBJECTIVE:
        raise UnfitBoosterError(
            f"its objective is {objective}, but a probability needs {OBJECTIVE}; train it with that objective"
        )
    if (kind := learner["gradient_booster"]["name"]) not in _KINDS:
        raise UnfitBoosterError(f"it is a {kind}, which cannot handle missing values; train a gbtree or dart")
    if (columns := booster.num_features()) != len(names):
        raise UnfitBoosterError(f"it was trained on {columns} features, but features.json has {len(names)}")
    if booster.feature_names is not None and booster.feature_names != list(names):
        at = next(i for i, pair in enumerate(zip(booster.feature_names, names, strict=True)) if pair[0] != pair[1])
        raise UnfitBoosterError(
            f"its column {at} is {booster.feature_names[at]!r}, but in features.json it is {names[at]!r}; "
            "train it on these features in this order"
        )
    if "c" in (booster.feature_types or []) or _CATEGORIES.search(content):
        raise UnfitBoosterError("it treats features as categories, but all features are numbers; train it on numbers")
    return booster


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
