"""Tries other alarm policies on the same scores: only the alarms are computed again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Bool, Float, Int
from training.evaluation.alarm_outcomes import Alarm, AlarmOutcomes, apply, match_alarms
from training.evaluation.labelled_event import LabelledEvent
from worker.alarms.alarms import Alarms
from worker.alarms.state_machine import AlarmPolicy

SETPOINTS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
ON_DELAYS_S = (0, 30, 60, 120, 300)


def policies(own: AlarmPolicy) -> list[AlarmPolicy]:
    """The given policy, and variants with other setpoints and on-delays; a deadband is at most half the setpoint."""
    setpoints = sorted({*SETPOINTS, own.setpoint})
    delays = sorted({*(1000 * s for s in ON_DELAYS_S), own.on_delay_ms})
    return [_at(own, setpoint, delay) for setpoint in setpoints for delay in delays]


def _at(own: AlarmPolicy, setpoint: float, on_delay_ms: int) -> AlarmPolicy:
    if (setpoint, on_delay_ms) == (own.setpoint, own.on_delay_ms):
        return own
    return own.changed({"on_delay_ms": on_delay_ms} | ({} if setpoint == own.setpoint else {"setpoint": setpoint}))


@dataclass(frozen=True)
class Trace:
    """Scores of the readings that can matter to any of the policies. Shapes [n]."""

    key: Int
    ts: Int
    probability: Float


def telling(key: Int, ts: Int, probability: Float, tried: Sequence[AlarmPolicy]) -> Bool:
    """Which readings can matter to any of these policies, shape [n].

    Below every setpoint less its deadband, timers are reset, and alarms end one off-delay later. So of a stretch of
    such readings, those within the off-delay and the first one after it are enough.
    """
    floor = min(p.setpoint - p.deadband for p in tried)
    off_delay_ms = max(p.off_delay_ms for p in tried)
    low = probability < floor
    begins = np.ones(len(low), np.bool_)
    begins[1:] = ~low[:-1] | (key[1:] != key[:-1])
    since = ts[np.maximum.accumulate(np.where(begins, np.arange(len(low)), 0))]
    within = ts - since < off_delay_ms
    first_after = ~within
    first_after[1:] &= within[:-1] & ~begins[1:]
    return np.asarray(~low | within | first_after | begins)


def alarms_under(policy: AlarmPolicy, trace: Trace, names: Sequence[str]) -> list[Alarm]:
    """The alarms that the worker's own state machine raises under this policy, oldest first."""
    machine = Alarms(policy)
    machine.assign(0, {})
    # Keys that never reach the setpoint have no alarms, and encoding their names takes time.
    over = np.unique(trace.key[trace.probability >= policy.setpoint])
    rows = np.flatnonzero(np.isin(trace.key, over))
    rows = rows[_moving(policy, trace.key[rows], trace.ts[rows], trace.probability[rows])]
    key, ts = trace.key[rows], trace.ts[rows]
    encoded = [names[number].encode() for number in key.tolist()]
    staged = machine.stage([0] * len(encoded), encoded, ts, trace.probability[rows])
    alarms: dict[str, Alarm] = {}
    apply(alarms, staged.transitions, key, ts)
    return sorted(alarms.values(), key=lambda a: a.ts)


def _moving(policy: AlarmPolicy, key: Int, ts: Int, probability: Float) -> Bool:
    """Which readings, in order of time, can change an alarm under this policy, shape [n].

    Of a stretch below the setpoint, or below the deadband, those are the first one and that which ends the off-delay.
    """
    zone = (probability >= policy.setpoint).astype(np.int8) + (probability >= policy.setpoint - policy.deadband)
    begins = np.ones(len(key), np.bool_)
    begins[1:] = (key[1:] != key[:-1]) | (zone[1:] != zone[:-1])
    since = ts[np.maximum.accumulate(np.where(begins, np.arange(len(key)), 0))]
    over = ts - since >= policy.off_delay_ms
    ends = over & ~begins
    ends[1:] &= ~over[:-1] | begins[:-1]
    return np.asarray((zone == 2) | begins | ends)


def sweep(
    tried: Sequence[AlarmPolicy], trace: Trace, names: Sequence[str], events: Sequence[LabelledEvent], horizon_ms: int
) -> Iterator[tuple[AlarmPolicy, AlarmOutcomes]]:
    """Each policy, with the outcomes of its alarms."""
    for policy in tried:
        yield policy, match_alarms(alarms_under(policy, trace, names), events, horizon_ms)
