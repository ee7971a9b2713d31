"""The baseline, which needs no model: limits on temperature, its rise, and gas, as in a battery management system.

Each limit is the lowest one within its share of the false-alarm budget on the validation data, so the baseline is tuned
as carefully as the models that are compared with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.series import Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET, Scored
from pipelines.battery_hazard.training.fitting.policy import RESERVE, choose_policy, policy_at, rate_of
from worker.alarms.state_machine import AlarmPolicy

CHANNELS = ("temperature_c", "rise_c_min", "offgas_co_ppm", "offgas_h2_ppm", "offgas_voc_ppm")
# Lower values are not plausible as limits.
_GRIDS = {
    "temperature_c": np.arange(45, 121, 2.5),
    "rise_c_min": np.geomspace(0.3, 30, 24),
    "offgas_co_ppm": np.geomspace(50, 900, 20),
    "offgas_h2_ppm": np.geomspace(20, 4500, 24),
    "offgas_voc_ppm": np.geomspace(50, 9000, 24),
}
_ON_DELAY_MS = 20_000


@dataclass(frozen=True)
class Thresholds:
    """Limits by channel, and the alarm policy that applies them.

    It scores like a model: 0.5 or more if a limit is reached.
    """

    limits: dict[str, float]
    policy: AlarmPolicy

    def score(self, features: Float) -> Float:
        """Severity [n]: r / (1 + r), where r is the largest ratio of a channel to its limit."""
        return _severity(_channels(features), self.limits)


def _channels(features: Float) -> dict[str, Float]:
    return {channel: measured(features, channel) for channel in CHANNELS}


def _severity(values: dict[str, Float], limits: dict[str, float]) -> Float:
    ratio = np.zeros(len(values[CHANNELS[0]]))
    for channel, limit in limits.items():
        ratio = np.fmax(ratio, values[channel] / limit)
    return np.asarray(ratio / (1 + ratio))


def measured(features: Float, channel: str) -> Float:
    """The quantity that a limit applies to [n], from features [n, f] as the worker computes them."""

    def column(name: str) -> Float:
        return np.asarray(features[:, FEATURES.names.index(name)], np.float64)

    if channel == "temperature_c":
        return np.asarray(np.fmax(column("avg_surface_temp_c"), column("max_surface_temp_c")))
    if channel == "rise_c_min":
        return 60 * column("avg_surface_temp_c_rate_5min")
    return column(channel)


def tuned_thresholds(validation: Iterable[Series], *, budget: float = FALSE_ALARM_BUDGET) -> Thresholds:
    """The lowest limits within equal shares of the budget, then moved together.

    The last step is how the models' setpoint and on-delay are chosen: on the same events, for the same budget less the
    same reserve.
    """
    share = budget * RESERVE / len(CHANNELS)
    shown, seen = [], []
    for one in validation:
        shown.append(Scored(one.about, one.ts, one.label, np.zeros(len(one.ts))))
        seen.append(_channels(one.features))

    def scored(limits: dict[str, float]) -> list[Scored]:
        return [replace(one, probability=_severity(of, limits)) for one, of in zip(shown, seen, strict=True)]

    limits = {}
    for channel in CHANNELS:
        highest = float(_GRIDS[channel][-1])
        rate = rate_of(scored({channel: highest}))
        for limit in _GRIDS[channel][::-1].tolist():
            # The score at each limit, if it is 0.5 at the highest.
            if rate(policy_at(limit / (limit + highest), _ON_DELAY_MS), share) > share:
                break
            limits[channel] = round(float(limit), 3)
    return Thresholds(limits, choose_policy(scored(limits), budget=budget))
