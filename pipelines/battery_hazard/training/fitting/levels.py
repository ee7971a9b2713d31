"""Levels of the alarm policy that follow from the model alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import CERTAIN, FEATURES, HEATING_C, HOT_C

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
    rows = np.full((2, len(FEATURES.names)), np.nan)
    for column, name in enumerate(FEATURES.names):
        if name == "hot_and_heating" or name.startswith("settled_"):
            rows[:, column] = CERTAIN
    rows[:, FEATURES.names.index("heating_score")] = HOT_C + HEATING_C, _CRITICAL_SCORE
    immediate, critical = score(rows).tolist()
    return Levels(immediate, critical)
