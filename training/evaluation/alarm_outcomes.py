"""Outcomes of alarms (warning, late or false), their lead times, and confidence intervals of the rates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from common.arrays import Int
from training.evaluation.labelled_event import LabelledEvent, by_key
from worker.alarms.alarms import MODEL, Transition
from worker.alarms.state_machine import ACTIVE, RTN
from worker.model.shap import Contribution

REQUIRED_WARNING_S = 300.0
"""An alarm this long before the point of no return counts as in time."""

AlarmOutcome = Literal["warning", "late", "false"]
CONFIDENCE = 0.95


@dataclass
class Alarm:
    """An alarm, from its first transition to its return to normal.

    Attributes:
        key: number of the key.
        onset_ts: when the probability reached the setpoint and stayed there, ms.
        ts: when the alarm was raised (one on-delay later), ms.
        priority: the highest it had.
        peak: the highest probability.
        cleared_ts: when it returned to normal, ms; None: it was active at the end of the recording.
        contributions: SHAP contributions when it was raised, largest first.
        rule: that raised it; empty: the model.
        since: when it first had each of its priorities, ms.
    """

    key: int
    alarm_id: str
    onset_ts: int
    ts: int
    priority: str
    peak: float
    cleared_ts: int | None = None
    contributions: list[Contribution] = field(default_factory=list)
    rule: str = MODEL
    since: dict[str, int] = field(default_factory=dict)


def apply(
    alarms: dict[str, Alarm], transitions: Sequence[Transition], key: Int, ts: Int
) -> list[tuple[Alarm, Transition]]:
    """Update alarms (by id) with the transitions of scored rows, and return those newly raised.

    Args:
        alarms: changed in place.
        transitions: as the worker would publish them.
        key: number of the key of each row, shape [n].
        ts: event time of each row, ms, shape [n].
    """
    raised = []
    for made in transitions:
        state, at = made.state, int(ts[made.row])
        alarm = alarms.get(state.alarm_id)
        if made.kind == ACTIVE and alarm is None:
            onset = at if state.onset_ts is None else state.onset_ts
            alarm = Alarm(int(key[made.row]), state.alarm_id, onset, at, state.priority, state.peak_probability)
            alarm.rule, alarm.since[state.priority] = made.rule, at
            alarms[state.alarm_id] = alarm
            raised.append((alarm, made))
        elif alarm is not None:
            alarm.priority, alarm.peak = state.priority, max(alarm.peak, state.peak_probability)
            alarm.since.setdefault(state.priority, at)
            if made.kind == RTN:
                alarm.cleared_ts = at
    return raised


class AlarmOutcomes(NamedTuple):
    """The outcomes of alarms and events.

    Attributes:
        verdicts: outcome of each alarm.
        lead_s: for each alarm, seconds before the first event that it warns of, negative if late, None if false.
        event_lead_s: for each event, the lead time of its first alarm; None without an alarm.
    """

    verdicts: list[AlarmOutcome]
    lead_s: list[float | None]
    event_lead_s: list[float | None]

    @property
    def detected(self) -> int:
        """Number of events with an alarm before or at the point of no return."""
        return sum(lead is not None and lead >= 0 for lead in self.event_lead_s)

    @property
    def late(self) -> int:
        """Number of events whose first alarm came afterwards."""
        return sum(lead is not None and lead < 0 for lead in self.event_lead_s)

    @property
    def false_alarms(self) -> int:
        """Number of alarms that no event explains."""
        return self.verdicts.count("false")

    def lead_percentile_s(self, percent: float) -> float | None:
        """Percentile of the lead times of all events. A missed or late event counts as 0. None without events."""
        leads = [max(lead or 0.0, 0.0) for lead in self.event_lead_s]
        return round(float(np.percentile(leads, percent)), 3) if leads else None


def match_alarms(alarms: Sequence[Alarm], events: Sequence[LabelledEvent], horizon_ms: int) -> AlarmOutcomes:
    """Match alarms to the events of their keys.

    An alarm that was active within the horizon before an event, or was raised at the event, is a warning of it. Its
    lead time counts up to the horizon. An alarm raised between `ts` and `end_ts` of an event is late; any other alarm
    is false. One alarm may warn of several events.

    Args:
        alarms: oldest first.
        events: of all keys.
        horizon_ms: how long before an event an alarm counts as its warning.
    """
    verdicts: list[AlarmOutcome] = []
    leads: list[float | None] = []
    first: dict[LabelledEvent, float] = {}
    of = by_key(events)
    for alarm in alarms:
        explained = [
            e
            for e in of.get(alarm.key, [])
            if alarm.ts < e.end_ts and (alarm.cleared_ts is None or alarm.cleared_ts > e.ts - horizon_ms)
        ]
        own = [min(e.ts - alarm.ts, horizon_ms) / 1000 for e in explained]
        for event, lead in zip(explained, own, strict=True):
            first.setdefault(event, lead)
        verdicts.append("false" if not own else "warning" if max(own) >= 0 else "late")
        leads.append(next((lead for lead in own if lead >= 0), own[-1]) if own else None)
    return AlarmOutcomes(verdicts, leads, [first.get(e) for e in events])


def poisson_interval(count: int, exposure: float) -> tuple[float, float]:
    """Exact confidence interval of a rate, count per exposure (Garwood 1936, by the chi-squared distribution)."""
    tail = (1 - CONFIDENCE) / 2
    low = stats.chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    high = stats.chi2.ppf(1 - tail, 2 * count + 2) / 2
    return (float(low / exposure), float(high / exposure)) if exposure > 0 else (0.0, float("inf"))


def weighted_interval(weights: Sequence[float], exposure: float) -> tuple[float, float]:
    """Confidence interval of a rate whose events count by weights of at most 1 (Fay and Feuer 1997).

    It holds the weighted rate. If all weights are 1, it is that of `poisson_interval`.
    """
    tail = (1 - CONFIDENCE) / 2
    total, squares = float(np.sum(weights)), float(np.sum(np.square(weights)))
    low = stats.gamma.ppf(tail, total**2 / squares, scale=squares / total) if total else 0.0
    # As if one more event had happened, with the greatest weight.
    total, squares = total + 1, squares + 1
    high = stats.gamma.ppf(1 - tail, total**2 / squares, scale=squares / total)
    return (float(low / exposure), float(high / exposure)) if exposure > 0 else (0.0, float("inf"))


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Exact confidence interval of a share (Clopper and Pearson 1934)."""
    if not of:
        return 0.0, 1.0
    interval = stats.binomtest(count, of).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)
