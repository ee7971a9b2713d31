"""The alarms that a pipeline raises on a simulated series as it is shipped, by the worker's own state machine."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.arrays import Bool, Float, Int
from pipelines.battery_hazard.training.datasets.features import TOPOLOGY
from pipelines.battery_hazard.training.datasets.series import Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, decisive
from training.evaluation.alarm_outcomes import Alarm
from worker.alarms.alarms import Alarms, Transition
from worker.alarms.rules import Condition, Rule
from worker.alarms.state_machine import ACTIVE, RTN, AlarmPolicy, Policy
from worker.model.package import ModelPackage


@dataclass(frozen=True)
class Shipped:
    """A model package, and the alarms of the pipeline that it belongs to.

    Attributes:
        package: the model.
        policy: of the model's own alarm; None: it raises none.
        rules: beside the model.
    """

    package: ModelPackage
    policy: AlarmPolicy | None
    rules: tuple[Rule, ...]

    def scored(self, series: Series) -> Scored:
        """A series with its probabilities."""
        return Scored(series.about, series.ts, series.label, self.package.score(series.features))

    def transitions(self, series: Series, probability: Float) -> tuple[list[Transition], Int]:
        """The transitions of all alarms, and the time of each row that they are about, ms."""
        assessable = self._assessable(series)
        levels = [rule.level(partial(self._seen, series, probability), assessable) for rule in self.rules]
        watched: list[tuple[Policy, Float | Int]] = [*zip((rule.policy for rule in self.rules), levels, strict=True)]
        if self.policy is not None:
            neither = self.policy.setpoint - self.policy.deadband  # begins no alarm, and ends none
            watched.append((self.policy, np.where(assessable, probability, neither)))
        rows = np.unique(np.concatenate([series.ts[:0], *(telling(*one, series.ts) for one in watched)]))
        if not len(rows):
            return [], rows
        machine = Alarms(self.policy, self.rules)
        machine.assign(0, {})
        keys, ts = [b"module"] * len(rows), series.ts[rows]
        found = machine.stage(
            [0] * len(rows),
            keys,
            ts,
            probability[rows],
            levels=[level[rows] for level in levels],
            assessable=assessable[rows],
        )
        return found.transitions, ts

    def _assessable(self, series: Series) -> Bool:
        """Whether the model can judge each row, shape [n]. Cells are of the default chemistry."""
        if (declared := self.package.assessable) is None:
            return np.ones(len(series.ts), np.bool_)
        reason = declared.first_reason(series.features, self.package.numeric, declared.limits({}))
        return np.asarray(reason == 0)

    def _seen(self, series: Series, probability: Float, condition: Condition) -> Float:
        """The values that a condition is about, shape [n]. A field's value is the last known one."""
        if condition.prediction:
            return probability
        name = condition.feature or condition.field
        if name not in self.package.numeric:
            return np.full(len(series.ts), np.nan)
        value = series.features[:, self.package.numeric.index(name)]
        if condition.field is not None and not series.about.bench:
            # Modules have the default topology; a bench's is one cell.
            return np.asarray(value * TOPOLOGY.get(self.package.spec.per.get(name, ""), 1.0))
        return np.asarray(value)


def telling(policy: Policy, value: Float | Int, ts: Int) -> Int:
    """Readings of one module that can raise, end, or raise the priority of an alarm, ascending."""
    if not (value >= policy.setpoint).any():
        return ts[:0]
    reached = value[:, None] >= np.array(list(policy.priorities.values()))
    rising = np.diff(reached, axis=0, prepend=False) & reached
    return np.union1d(decisive(policy, ts, value), np.flatnonzero(rising.any(axis=1)))


def alarms_of(made: Sequence[Transition], ts: Int, priorities: Container[str]) -> list[Alarm]:
    """Alarms of these priorities, oldest first. One that was raised to such a priority begins at that time.

    Args:
        made: transitions of one key.
        ts: time of the rows that they are about, ms.
        priorities: that count.
    """
    found: dict[str, Alarm] = {}
    seen: set[str] = set()
    for transition in made:
        state, at = transition.state, int(ts[transition.row])
        alarm = found.get(state.alarm_id)
        if transition.kind == ACTIVE and alarm is None and state.priority in priorities:
            onset = at if state.alarm_id in seen or state.onset_ts is None else state.onset_ts
            found[state.alarm_id] = Alarm(0, state.alarm_id, onset, at, state.priority, state.peak_probability)
        elif transition.kind == RTN and alarm is not None:
            alarm.cleared_ts = at
        seen.add(state.alarm_id)
    return sorted(found.values(), key=lambda alarm: alarm.ts)
