"""Levels of the alarm policy that follow from the model alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xgboost

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import CERTAIN, FEATURES, HEATING_C, HOT_C
from pipelines.battery_hazard.training.fitting.heat_tree import HIGHEST_SCORE
from worker.model.scaler import Scaler

_CRITICAL_SCORE = 192.0
"""Chosen on the development tests (docs/model.md): from this heating score on, an alarm is CRITICAL."""


class Levels(NamedTuple):
    """Probabilities from which an alarm has no time to wait, and from which it is CRITICAL."""

    immediate: float
    critical: float


def levels_of(score: Callable[[Float], Float]) -> Levels:
    """The least probabilities of a cell that is hot and heating: at all, and as fast as in a runaway.

    Args:
        score: gives the probability of features.
    """
    immediate, critical = score(_hot_and_heating([HOT_C + HEATING_C, _CRITICAL_SCORE])).tolist()
    return Levels(immediate, critical)


def highest_log_odds(scaler: Scaler, booster: xgboost.Booster) -> float:
    """Log-odds of a cell that is as hot and heating as the score can tell, if nothing else is known."""
    row = scaler.scale(len(FEATURES.names))(_hot_and_heating([HIGHEST_SCORE]))
    return float(booster.inplace_predict(row, predict_type="margin")[0])


def _hot_and_heating(scores: list[float]) -> Float:
    rows = np.full((len(scores), len(FEATURES.names)), np.nan)
    for column, name in enumerate(FEATURES.names):
        if name == "hot_and_heating" or name.startswith("settled_"):
            rows[:, column] = CERTAIN
    rows[:, FEATURES.names.index("heating_score")] = scores
    return rows
