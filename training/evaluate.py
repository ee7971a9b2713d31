"""How good a model is, in an operator's terms: events warned of, minutes of warning, false alarms a module-day."""

from typing import Any, NamedTuple

import numpy as np

from training.dataset import PERIOD_MS, TOO_LATE_MS, LabelledFleet
from worker.alarms import ACTIVE, AlarmPolicy, Alarms
from worker.features import Float

ON_DELAY_MS = 30_000
OFF_DELAY_MS = 120_000
DEADBAND = 0.2
CRITICAL_FROM = 0.9
SETPOINTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
RESERVE_LOG_ODDS = 1.0
_MS_A_DAY = 86_400_000


class Raised(NamedTuple):
    """An alarm: the module, when the probability first stayed over the setpoint, and when it was raised (ms)."""

    module: int
    onset_ts: int
    ts: int


class Outcome(NamedTuple):
    """What a policy makes of a fleet: warning before each event (ms, 0 where there was none), and false alarms."""

    lead_ms: list[int]
    false_alarms: list[Raised]


def policy_at(setpoint: float) -> AlarmPolicy:
    """The alarm policy with this setpoint and the usual delays, deadband and priorities."""
    return AlarmPolicy(
        setpoint=setpoint,
        deadband=min(DEADBAND, setpoint / 2),
        on_delay_ms=ON_DELAY_MS,
        off_delay_ms=OFF_DELAY_MS,
        priorities={"HIGH": setpoint, "CRITICAL": max(CRITICAL_FROM, (1 + setpoint) / 2)},
    )


def alarms_raised(policy: AlarmPolicy, fleet: LabelledFleet, probability: Float) -> list[Raised]:
    """Alarms that the worker's own state machine raises on a fleet scored with `probability` [n]."""
    alarms = Alarms(policy)
    alarms.assign(0, {})
    names = [str(k).encode() for k in fleet.key.tolist()]
    staged = alarms.stage([0] * len(names), names, fleet.ts, probability)
    raised: dict[str, Raised] = {}
    for row, kind, state in staged.transitions:
        if kind == ACTIVE and state.onset_ts is not None:  # the first of an alarm; later ones raise its priority
            at = Raised(int(fleet.key[row]), state.onset_ts, int(fleet.ts[row]))
            raised.setdefault(state.alarm_id, at)
    return list(raised.values())


def judge(policy: AlarmPolicy, fleet: LabelledFleet, probability: Float) -> Outcome:
    """Compare the alarms with the truth.

    An event is warned of by an alarm raised between the fault's onset and 30 s before the point of no return. An
    alarm on a healthy module, or one whose onset lies before the fault's, is false.
    """
    raised = alarms_raised(policy, fleet, probability)
    faults = {fault.module: fault for fault in fleet.faults}
    true = [a for a in raised if a.module in faults and a.onset_ts >= faults[a.module].onset_ts]
    first: dict[int, int] = {}
    for alarm in true:
        first.setdefault(alarm.module, alarm.ts)
    lead = [f.no_return_ts - first.get(f.module, f.no_return_ts) for f in fleet.faults]
    return Outcome([ms if ms >= TOO_LATE_MS else 0 for ms in lead], [a for a in raised if a not in true])


def operator_metrics(policy: AlarmPolicy, fleets: list[LabelledFleet], probabilities: list[Float]) -> dict[str, Any]:
    """Metrics over fleets. Lead times count an event that was missed as zero."""
    outcomes = [judge(policy, f, p) for f, p in zip(fleets, probabilities, strict=True)]
    lead_s = np.array([ms / 1000 for o in outcomes for ms in o.lead_ms])
    false_alarms = sum(len(o.false_alarms) for o in outcomes)
    module_days = sum(_module_days(f) for f in fleets)
    return {
        "events": len(lead_s),
        "events_detected": int((lead_s > 0).sum()),
        "lead_time_median_s": float(np.median(lead_s)) if len(lead_s) else 0.0,
        "lead_time_p10_s": float(np.percentile(lead_s, 10)) if len(lead_s) else 0.0,
        "false_alarms": false_alarms,
        "module_days": round(module_days, 3),
        "false_alarms_per_module_day": round(false_alarms / module_days, 4),
    }


def choose_policy(fleets: list[LabelledFleet], probabilities: list[Float]) -> AlarmPolicy:
    """A setpoint with reserve above the lowest of `SETPOINTS` that raises no false alarm on the validation fleets.

    Events are warned of many minutes ahead at any setpoint, so the reserve (`RESERVE_LOG_ODDS`) costs little and
    guards against what the validation fleets did not show. For the same reason the choice leaves the on-delay out. If
    no setpoint is free of false alarms, the one with fewest is taken, and the metrics say so.
    """
    false_alarms = []
    for setpoint in SETPOINTS:
        hasty = policy_at(setpoint).model_copy(update={"on_delay_ms": 0})
        pairs = zip(fleets, probabilities, strict=True)
        false_alarms.append(sum(len(judge(hasty, f, p).false_alarms) for f, p in pairs))
        if false_alarms[-1] == 0:
            break
    lowest = SETPOINTS[int(np.argmin(false_alarms))]
    odds = lowest / (1 - lowest) * np.exp(RESERVE_LOG_ODDS)
    return policy_at(round(float(odds / (1 + odds)), 4))


def _module_days(fleet: LabelledFleet) -> float:
    """Module-days of operation without fault, by readings received."""
    onset = {f.module: f.onset_ts for f in fleet.faults}
    faulty = sum(int(((fleet.key == m) & (fleet.ts >= at)).sum()) for m, at in onset.items())
    return (len(fleet.ts) - faulty) * PERIOD_MS / _MS_A_DAY
