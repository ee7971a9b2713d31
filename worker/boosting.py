"""XGBoost without scikit-learn, which it would import for its own estimators: the worker uses none of them.

The import takes a third of what a worker needs to start.
"""

import sys

# What stands for a module that is not there. XGBoost does without, as where scikit-learn is not installed.
_KEPT_OUT = {"sklearn": None} if "sklearn" not in sys.modules else {}

sys.modules |= _KEPT_OUT  # type: ignore[arg-type]  # None is Python's own sign
try:
    import xgboost
finally:
    for _name in _KEPT_OUT:
        del sys.modules[_name]

__all__ = ["xgboost"]
