"""The alarms that a pipeline raises on a simulated series as it is shipped, by the worker's own state machine."""

from collections.abc import Container, Sequence

import numpy as np

from common.arrays import Int
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, decisive
from training.evaluation.alarm_outcomes import Alarm
from worker.alarms.state_machine import ACTIVE, RTN, AlarmPolicy, Alarms, Transition


def transitions(policy: AlarmPolicy, scored: Scored) -> tuple[list[Transition], Int]:
    """The transitions of a series, and the time of each row that they are about, ms."""
    if not (scored.probability >= policy.setpoint).any():
        return [], scored.ts[:0]
    reached = scored.probability[:, None] >= np.array(list(policy.priorities.values()))
    rising = np.diff(reached, axis=0, prepend=False) & reached
    rows = np.union1d(decisive(policy, scored.ts, scored.probability), np.flatnonzero(rising.any(axis=1)))
    machine = Alarms(policy)
    machine.assign(0, {})
    ts = scored.ts[rows]
    return machine.stage([0] * len(rows), [b"module"] * len(rows), ts, scored.probability[rows]).transitions, ts


def alarms_of(made: Sequence[Transition], ts: Int, priorities: Container[str]) -> list[Alarm]:
    """Alarms of these priorities, oldest first. One that was raised to such a priority begins at that time.

    Args:
        made: transitions of one key.
        ts: time of the rows that they are about, ms.
        priorities: that count.
    """
    found: dict[str, Alarm] = {}
    for transition in made:
        state, at = transition.state, int(ts[transition.row])
        alarm = found.get(state.alarm_id)
        if transition.kind == ACTIVE and alarm is None and state.priority in priorities:
            before = any(one.state.alarm_id == state.alarm_id and one.row < transition.row for one in made)
            onset = at if before or state.onset_ts is None else state.onset_ts
            found[state.alarm_id] = Alarm(0, state.alarm_id, onset, at, state.priority, state.peak_probability)
        elif transition.kind == RTN and alarm is not None:
            alarm.cleared_ts = at
    return sorted(found.values(), key=lambda alarm: alarm.ts)
