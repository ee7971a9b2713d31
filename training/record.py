"""What a training leaves to look at."""

from dataclasses import dataclass

import xgboost
from sklearn.preprocessing import StandardScaler

from training.operators import Scored
from training.series import Series
from worker.alarms import AlarmPolicy


@dataclass(frozen=True)
class Record:
    """A training, for figures.

    Attributes:
        policy: chosen.
        test: scored test series.
        curve: area under the precision-recall curve on validation rows, by round.
        reliability: of the validation series (see `training.calibration.reliability`).
        unseen: the test series with their features.
        scaler, booster: the model.
    """

    policy: AlarmPolicy
    test: list[Scored]
    curve: list[float]
    reliability: dict[str, list[float]]
    unseen: list[Series]
    scaler: StandardScaler
    booster: xgboost.Booster
