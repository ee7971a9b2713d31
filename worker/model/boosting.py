"""XGBoost without scikit-learn, which it would import for its own estimators: the worker uses none of them.

The import takes a third of what a worker needs to start.
"""

import json
import re
import sys
from collections.abc import Sequence

# What stands for a module that is not there. XGBoost does without, as where scikit-learn is not installed.
_KEPT_OUT = {"sklearn": None} if "sklearn" not in sys.modules else {}

sys.modules |= _KEPT_OUT  # type: ignore[arg-type]  # None is Python's own sign
try:
    import xgboost
finally:
    for _name in _KEPT_OUT:
        del sys.modules[_name]

__all__ = ["UnfitBoosterError", "load_booster", "xgboost"]

OBJECTIVE = "binary:logistic"
_KINDS = {"gbtree", "dart"}
# A split that sends some categories to one side lists them: in UBJSON, or as text.
_CATEGORIES = re.compile(rb'categories_nodes(?:\[\$l#L(?!\0{8})|":\s*\[\s*\d)')
# In UBJSON the last entry of a booster's outermost object: three numbers of one or two bytes.
_VERSION = re.compile(rb"version\[#L\0{7}\x03(?:[iU](.)|I(..))(?:[iU](.)|I(..))", re.DOTALL)


class UnfitBoosterError(Exception):
    """XGBoost reads the booster, but it gives no probability of these features."""


def load_booster(content: bytes, names: Sequence[str]) -> xgboost.Booster:
    """The booster in these bytes.

    Args:
        content: of booster.ubj.
        names: of its features, in the order of its columns.

    Raises:
        UnfitBoosterError: it is of another task or of other features.
        Exception: XGBoost cannot read it.
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
            f"its objective is {objective}, and a probability needs {OBJECTIVE}; train it with that objective"
        )
    if (kind := learner["gradient_booster"]["name"]) not in _KINDS:
        raise UnfitBoosterError(f"it is a {kind}, which cannot score with missing values; train a gbtree or dart")
    if (columns := booster.num_features()) != len(names):
        raise UnfitBoosterError(f"it was trained on {columns} features, and features.json has {len(names)}")
    if booster.feature_names is not None and booster.feature_names != list(names):
        at = next(i for i, pair in enumerate(zip(booster.feature_names, names, strict=True)) if pair[0] != pair[1])
        raise UnfitBoosterError(
            f"its column {at} is {booster.feature_names[at]!r}, and in features.json it is {names[at]!r}; "
            "train it on these features in this order"
        )
    if "c" in (booster.feature_types or []) or _CATEGORIES.search(content):
        raise UnfitBoosterError("it takes features for categories, and all features are numbers; train it on numbers")
    return booster


def _newer(content: bytes) -> str:
    """What to do where a newer XGBoost has written it; else nothing."""
    found = list(_VERSION.finditer(content, max(len(content) - 100, 0)))
    if not found:
        return ""
    major, long_major, minor, long_minor = found[-1].groups()
    written = int.from_bytes(major or long_major, "big"), int.from_bytes(minor or long_minor, "big")
    installed = tuple(map(int, xgboost.__version__.split(".")[:2]))
    if written <= installed:
        return ""
    return f"; XGBoost {written[0]}.{written[1]} has written it, and {xgboost.__version__} is installed: install that"
