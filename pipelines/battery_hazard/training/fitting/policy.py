"""Chooses the alarm policy on validation events, for a given false-alarm budget."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipelines.battery_hazard.training.datasets.labels import NORMAL
from pipelines.battery_hazard.training.datasets.series import normal_days
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET, Scored, evaluate_series
from pipelines.battery_hazard.training.fitting.levels import Levels
from worker.alarms.state_machine import AlarmPolicy

OFF_DELAY_MS = 1_800_000
"""Half an hour: a sensor that shows single wrong values for hours raises one alarm, not one for each value."""
ON_DELAYS_MS = (0, 10_000, 20_000)
_IMMEDIATE_LOG_ODDS = 2.0
"""This far above the setpoint, a policy may skip the on-delay."""
RESERVE = 0.5
"""Share of the budget that may be used on validation data. The rest is for cases that validation does not contain."""
_LOG_ODDS = np.arange(10, -4.01, -0.05)
_LEAST_LOG_ODDS = 0.75
"""The least setpoint of a model with levels of its own: cells of recorded tests that stayed below 60 °C, and were no
danger, reach less (docs/model.md). Training does not see them.
"""
_DEADBAND_LOG_ODDS = 1.0
_CRITICAL_LOG_ODDS = 2.0


def policy_at(setpoint: float, on_delay_ms: int, immediate_log_odds: float | None = None) -> AlarmPolicy:
    """The alarm policy with this setpoint and on-delay. The deadband is 1 log-odds; CRITICAL is 2 above the setpoint.

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
    levels: Levels | None = None,
) -> AlarmPolicy:
    """The policy that warns of the most validation events in time, within the budget less its reserve.

    For each on-delay, with and without an immediate level, the lowest setpoint within the budget is found by bisection.
    Of these policies, the best has the most events that meet the bar (`EventOutcome.met`); then the most fast events
    that are alarmed at the first reading; then the longest median lead time. If no setpoint is within the budget, the
    highest is used, and the metrics show it.

    Args:
        scored: validation series.
        budget: false alarms per module-day.
        on_delays_ms: the candidates; the last one wins a tie.
        levels: of the model, from which an alarm waits no more, and is CRITICAL; None: it has none.
    """
    found = []
    rate = rate_of(scored)
    failing = [one for one in scored if one.about.fault is not None]
    ways = [(delay, way) for delay in on_delays_ms for way in ((None, _IMMEDIATE_LOG_ODDS) if delay else (None,))]
    for on_delay_ms, immediate in ways:
        tried = [
            policy
            for log_odds in _LOG_ODDS
            if (policy := _with(levels, policy_at(_shifted(0.5, float(log_odds)), on_delay_ms, immediate))) is not None
        ]

        def too_many(place: int, tried: list[AlarmPolicy] = tried) -> bool:
            return rate(tried[place], budget * RESERVE) > budget * RESERVE

        first = bisect_left(range(1, len(tried)), True, key=too_many)  # noqa: FBT003 - the value to search for
        policy = tried[first]
        events = [e for one in failing if (e := evaluate_series(policy, one).event) is not None]
        lead = [max(e.lead_s or 0.0, 0.0) for e in events]
        met, first = sum(e.met for e in events), sum(e.within(0) and not e.slow for e in events)
        found.append((met, first, float(np.median(lead)) if lead else 0.0, on_delay_ms, policy))
    return max(found, key=lambda one: one[:-1])[-1]


def _with(levels: Levels | None, policy: AlarmPolicy) -> AlarmPolicy | None:
    """The policy with the model's own levels; None if its setpoint is above them, or too low."""
    if levels is None:
        return policy
    highest, least = min(levels), _shifted(0.5, _LEAST_LOG_ODDS)
    if policy.setpoint > highest or policy.setpoint < least <= highest:
        return None
    immediate = levels.immediate if policy.immediate is None else min(levels.immediate, policy.immediate)
    priorities = {"HIGH": policy.setpoint, "CRITICAL": levels.critical}
    return policy.model_copy(update={"immediate": immediate, "priorities": priorities})


class Rate(Protocol):
    """False alarms per module-day of a policy. Counting stops once the rate exceeds `enough`."""

    def __call__(self, policy: AlarmPolicy, enough: float = np.inf) -> float:
        """See the class."""


def rate_of(scored: Sequence[Scored]) -> Rate:
    """A function that gives the false alarms per module-day of any policy on these series.

    It evaluates only series whose normal operation reaches the setpoint; the others cannot have false alarms. The
    budget does not cover nuisances of test benches.
    """
    days = sum(normal_days(one.about, one.label) for one in scored)
    peak = [float(one.probability[one.label == NORMAL].max(initial=0.0)) for one in scored]

    def rate(policy: AlarmPolicy, enough: float = np.inf) -> float:
        reaching = (one for one, highest in zip(scored, peak, strict=True) if highest >= policy.setpoint)
        found = 0.0
        for one in reaching:
            alarms = evaluate_series(policy, one).false_alarms
            found += sum(a.weight for a in alarms if a.kind == "none" or not one.about.bench) / days
            if found > enough:
                break
        return found

    return rate
