"""Choose the alarm policy on validation events, for a stated budget of false alarms."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipelines.battery_hazard.training.datasets.labels import NORMAL
from pipelines.battery_hazard.training.datasets.series import normal_days
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET, Scored, evaluate_series
from worker.alarms.state_machine import AlarmPolicy

OFF_DELAY_MS = 120_000
ON_DELAYS_MS = (0, 10_000, 20_000)
_IMMEDIATE_LOG_ODDS = 3.0
"""So far above the setpoint the on-delay may be left out."""
RESERVE = 0.5
"""Share of the budget that validation may use: what it did not show needs the rest."""
_LOG_ODDS = np.arange(10, -4.01, -0.25)
_DEADBAND_LOG_ODDS = 1.0
_CRITICAL_LOG_ODDS = 2.0


def policy_at(setpoint: float, on_delay_ms: int, immediate_log_odds: float | None = None) -> AlarmPolicy:
    """The alarm policy with this setpoint and on-delay; the deadband and CRITICAL lie one and two log-odds off it.

    If `immediate_log_odds` is given, an alarm this far above the setpoint does not wait for the on-delay.
    """
    critical = _shifted(setpoint, _CRITICAL_LOG_ODDS)
    return AlarmPolicy(
        setpoint=setpoint,
        deadband=round(setpoint - _shifted(setpoint, -_DEADBAND_LOG_ODDS), 6),
        on_delay_ms=on_delay_ms,
        off_delay_ms=OFF_DELAY_MS,
        priorities={"HIGH": setpoint, "CRITICAL": critical},
        immediate=None if immediate_log_odds is None else _shifted(setpoint, immediate_log_odds),
    )


def _shifted(probability: float, log_odds: float) -> float:
    odds = probability / (1 - probability) * np.exp(log_odds)
    return round(float(odds / (1 + odds)), 6)


def choose_policy(
    scored: Sequence[Scored],
    *,
    budget: float = FALSE_ALARM_BUDGET,
    on_delays_ms: Sequence[int] = ON_DELAYS_MS,
) -> AlarmPolicy:
    """The policy that warns of most validation events in time, within the budget less its reserve.

    For each on-delay, and for each way to leave it out, the lowest setpoint (by bisection) whose false alarms stay
    within; of these the one under which most events meet the bar (`EventOutcome.met`), then the one that alarms most
    sudden ones at the first reading, then the one that leads by most. If no setpoint stays within, the highest is
    taken, and the metrics say so.

    Args:
        scored: validation series.
        budget: false alarms a module-day.
        on_delays_ms: to choose from, the best last where all else is equal.
    """
    found = []
    rate = rate_of(scored)
    failing = [one for one in scored if one.about.fault is not None]
    ways = [(delay, way) for delay in on_delays_ms for way in ((None, _IMMEDIATE_LOG_ODDS) if delay else (None,))]
    for on_delay_ms, immediate in ways:
        tried = [policy_at(_shifted(0.5, float(log_odds)), on_delay_ms, immediate) for log_odds in _LOG_ODDS]

        def too_many(place: int, tried: list[AlarmPolicy] = tried) -> bool:
            return rate(tried[place], budget * RESERVE) > budget * RESERVE

        first = bisect_left(range(1, len(tried)), True, key=too_many)  # noqa: FBT003 (what is searched for)
        policy = tried[first]
        events = [e for one in failing if (e := evaluate_series(policy, one).event) is not None]
        lead = [max(e.lead_s or 0.0, 0.0) for e in events]
        met, first = sum(e.met for e in events), sum(e.within(0) and not e.slow for e in events)
        found.append((met, first, float(np.median(lead)) if lead else 0.0, on_delay_ms, policy))
    return max(found, key=lambda one: one[:-1])[-1]


class Rate(Protocol):
    """False alarms a module-day of a policy; no more are counted once it is more than `enough`."""

    def __call__(self, policy: AlarmPolicy, enough: float = np.inf) -> float:
        """As described."""


def rate_of(scored: Sequence[Scored]) -> Rate:
    """What gives the false alarms a module-day of any policy on these series.

    Only series whose normal operation reaches the setpoint are looked at: the others can have none.
    """
    days = sum(normal_days(one.about, one.label) for one in scored)
    peak = [float(one.probability[one.label == NORMAL].max(initial=0.0)) for one in scored]

    def rate(policy: AlarmPolicy, enough: float = np.inf) -> float:
        reaching = (one for one, highest in zip(scored, peak, strict=True) if highest >= policy.setpoint)
        found = 0.0
        for one in reaching:
            found += sum(alarm.weight for alarm in evaluate_series(policy, one).false_alarms) / days
            if found > enough:
                break
        return found

    return rate
