"""The results of a training that figures show."""

from dataclasses import dataclass

import xgboost

from pipelines.battery_hazard.training.datasets.series import Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored
from worker.alarms.state_machine import AlarmPolicy
from worker.model.scaler import Scaler


@dataclass(frozen=True)
class Record:
    """A training, for figures.

    Attributes:
        policy: the chosen one.
        test: scored test series.
        curve: area under the precision-recall curve on validation rows, by round.
        reliability: of the validation series (see `pipelines.battery_hazard.training.fitting.calibration.reliability`).
        unseen: the test series with their features.
        scaler, booster: the model.
    """

    policy: AlarmPolicy
    test: list[Scored]
    curve: list[float]
    reliability: dict[str, list[float]]
    unseen: list[Series]
    scaler: Scaler
    booster: xgboost.Booster
