"""Metrics for operators: warning time before each event, false alarms per module-day, time in alarm."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.arrays import Float, Int
from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING
from pipelines.battery_hazard.training.datasets.labels import NORMAL, Label, first_sign
from pipelines.battery_hazard.training.datasets.series import About, normal_days
from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S, Alarm, share_interval, weighted_interval
from training.evaluation.policy_sweep import Trace, alarms_under
from worker.alarms.state_machine import AlarmPolicy, Policy

NUISANCES_PER_MODULE_DAY = 0.05
"""Assumed rate of events that look like a hazard but are not: one per module in 20 days."""
FALSE_ALARM_BUDGET = 1 / 1000
"""Assumed number of false alarms per module-day that a site accepts."""
KINDS = {"modules": False, "bench": True}
"""Modules and single cells on test benches are reported separately: name, and value of `About.bench`."""
_LINGERS_MS = HOUR_MS
"""A nuisance also explains alarms that begin within this time after it."""
_JITTER_MS = 1000


@dataclass(frozen=True)
class Scored:
    """A series with its probabilities; shapes [n]."""

    about: About
    ts: Int
    label: Label
    probability: Float


@dataclass(frozen=True)
class EventOutcome:
    """Whether and when an event was alarmed.

    Attributes:
        about: the module.
        warning_s: time from the first sign at the module's sensors to the point of no return.
        lead_s: time from the alarm to the point of no return; negative if the alarm came later, None if there was none.
        delay_s: time from the first reading after the first sign to the alarm; negative if the alarm came earlier,
            None if there was none.
    """

    about: About
    warning_s: float
    lead_s: float | None
    delay_s: float | None

    @property
    def mechanism(self) -> str:
        """How the module failed."""
        return "" if self.about.fault is None else self.about.fault.mechanism

    @property
    def warned(self) -> bool:
        """Whether the alarm came before the point of no return."""
        return self.lead_s is not None and self.lead_s > 0

    @property
    def slow(self) -> bool:
        """Whether the first sign comes early enough for the required warning: five minutes, as GB 38031 asks."""
        return self.warning_s >= REQUIRED_WARNING_S

    def within(self, readings: int) -> bool:
        """Whether the alarm came at most `readings` readings after the first one that shows the fault."""
        return self.delay_s is not None and self.delay_s * 1000 <= readings * self.about.period_ms + _JITTER_MS

    @property
    def met(self) -> bool:
        """Whether the alarm came five minutes ahead or, for a fast event, by the second reading that shows the fault.

        The on-delay is not subtracted: it delays an alarm like anything else.
        """
        if self.slow:
            return self.lead_s is not None and self.lead_s >= REQUIRED_WARNING_S
        return self.within(1)


@dataclass(frozen=True)
class FalseAlarm:
    """An alarm on normal operation; `kind` is the nuisance behind it, or `none`."""

    about: About
    ts: int
    kind: str

    @property
    def weight(self) -> float:
        """Weight in rates. Below 1 if nuisances were simulated more often than they are assumed to occur."""
        if self.kind == "none" or not self.about.nuisance_rate:
            return 1.0
        return min(1.0, NUISANCES_PER_MODULE_DAY / self.about.nuisance_rate)


@dataclass(frozen=True)
class SeriesResult:
    """Outcome of an alarm policy on one series."""

    about: About
    event: EventOutcome | None
    false_alarms: tuple[FalseAlarm, ...]
    normal_days: float
    alarm_days: float


def evaluate_series(policy: AlarmPolicy, scored: Scored) -> SeriesResult:
    """Compare the alarms of a policy on a series with the ground truth."""
    return evaluate_alarms(raised(policy, scored), scored)


def evaluate_alarms(alarms: Sequence[Alarm], scored: Scored, *, critical: bool = False) -> SeriesResult:
    """Compare alarms on a series, oldest first, with the ground truth.

    An alarm whose onset is in normal operation is false. One between a fault's onset and its point of no return is a
    warning. So is one that is already active because of the smoke of another fire, but it counts only from the fault's
    onset. Other alarms in the heat and smoke of a fire count as neither. Nor do those of a sudden short that decays: a
    person must look at it. But an alarm that says that it runs away is false.

    Args:
        alarms: on the series.
        scored: the series.
        critical: whether these alarms say that a module runs away.
    """
    fault = scored.about.fault
    event = None
    # A fire that spreads may reach a module only after the end of the series.
    if fault is not None and len(scored.ts) and scored.ts[-1] >= fault.no_return_ts - MINUTE_MS:
        sign = first_sign(fault, gas=scored.about.gas, cells=scored.about.cells)
        mine = [
            a
            for a in alarms
            if a.onset_ts >= fault.onset_ts
            or ((a.cleared_ts is None or a.cleared_ts > sign) and _label_at(scored, a.onset_ts) != NORMAL)
        ]
        telling_reading = scored.ts[min(int(np.searchsorted(scored.ts, sign)), len(scored.ts) - 1)]
        at = max(mine[0].ts, fault.onset_ts) if mine else None
        event = EventOutcome(
            scored.about,
            (fault.no_return_ts - sign) / 1000,
            None if at is None else (fault.no_return_ts - at) / 1000,
            None if at is None else (at - int(telling_reading)) / 1000,
        )
    false: list[FalseAlarm] = []
    in_alarm_ms = in_alarm_until = 0
    for alarm in alarms:
        kind = blamed(scored.about, alarm.onset_ts)
        if _label_at(scored, alarm.onset_ts) != NORMAL or (kind == DECAYING and not critical):
            continue
        false.append(FalseAlarm(scored.about, alarm.ts, kind))
        ends = int(scored.ts[-1]) if alarm.cleared_ts is None else alarm.cleared_ts
        in_alarm_ms += ends - max(alarm.ts, in_alarm_until) if ends > in_alarm_until else 0
        in_alarm_until = max(in_alarm_until, ends)
    return SeriesResult(
        scored.about, event, tuple(false), normal_days(scored.about, scored.label), in_alarm_ms / DAY_MS
    )


def _label_at(scored: Scored, ts: int) -> int:
    return int(scored.label[int(np.searchsorted(scored.ts, ts))])


def raised(policy: AlarmPolicy, scored: Scored) -> list[Alarm]:
    """The alarms that the worker's own state machine raises on a series, oldest first (priorities aside)."""
    if not len(scored.ts) or not (scored.probability >= policy.setpoint).any():
        return []
    rows = decisive(policy, scored.ts, scored.probability)
    return alarms_under(
        policy, Trace(np.zeros(len(rows), np.int64), scored.ts[rows], scored.probability[rows]), ["module"]
    )


def decisive(policy: Policy, ts: Int, probability: Float | Int) -> Int:
    """Readings of one module that can begin or end an alarm, ascending.

    The state machine has four levels: far enough over the setpoint to skip the on-delay, over the setpoint, below
    setpoint less deadband, and between. In a run of readings on one level (the first two count as one), it acts on the
    first reading, on the first one after the level's delay, and on those that skip the delay.
    """
    over, under = probability >= policy.setpoint, probability < policy.setpoint - policy.deadband
    level = over.astype(np.int8) - under
    begins = np.ones(len(ts), np.bool_)
    begins[1:] = level[1:] != level[:-1]
    since = ts[np.maximum.accumulate(np.where(begins, np.arange(len(ts)), 0))]
    passed = ts - since >= np.select([over, under], [policy.on_delay_ms, policy.off_delay_ms], 0)
    first_passed = passed.copy()
    first_passed[1:] &= ~passed[:-1] | begins[1:]
    urgent = over & (probability >= policy.immediate) if policy.immediate is not None else np.zeros_like(over)
    urgent[1:] &= ~urgent[:-1]
    return np.flatnonzero(begins | first_passed | urgent)


def blamed(about: About, ts: int) -> str:
    """The nuisance that explains an alarm at `ts`, or `none`. A short that decays comes first of several."""
    # The clock of a device may be slightly late.
    kinds = [n.kind for n in about.nuisances if n.start_ts - _JITTER_MS <= ts < n.end_ts + _LINGERS_MS]
    return DECAYING if DECAYING in kinds else next(iter(kinds), "none")


def summary(results: Iterable[SeriesResult]) -> dict[str, Any]:
    """Sum up results, with 95 % confidence intervals. Rates of false alarms are by weight (`FalseAlarm.weight`)."""
    results = list(results)
    false = [alarm for v in results for alarm in v.false_alarms]
    days = sum(v.normal_days for v in results)
    weights = [alarm.weight for alarm in false]
    weighted = sum(weights)
    low, high = weighted_interval(weights, days)
    return {
        **events_summary([v.event for v in results if v.event is not None]),
        "module_days": round(days, 3),
        "false_alarms": len(false),
        "false_alarms_weighted": weighted,
        "false_alarms_by_cause": dict(sorted(Counter(alarm.kind for alarm in false).items())),
        "false_alarms_per_module_day": weighted / days if days else 0.0,
        "false_alarms_per_module_day_ci": [low, high if days else 0.0],
        "false_alarms_per_module_year": 365.25 * weighted / days if days else 0.0,
        "time_in_alarm_share": sum(v.alarm_days for v in results) / days if days else 0.0,
    }


def summary_by_kind(results: Iterable[SeriesResult]) -> dict[str, Any]:
    """As `summary`, separately for modules and single cells."""
    results = list(results)
    return {kind: summary(r for r in results if r.about.bench == bench) for kind, bench in KINDS.items()}


def events_summary(events: Sequence[EventOutcome]) -> dict[str, Any]:
    """Recall, lead time and the figures for the bars, over events. A missed event has lead time 0."""
    lead = np.array([max(e.lead_s or 0.0, 0.0) for e in events])
    slow = [e for e in events if e.slow]
    fast = [e for e in events if not e.slow]
    warned = sum(e.warned for e in events)
    in_time = sum(e.met for e in slow)
    first, prompt = sum(e.within(0) for e in fast), sum(e.met for e in fast)
    delay = np.array([e.delay_s for e in fast if e.delay_s is not None])
    known = sum(e.lead_s is not None for e in fast)
    slow_lead = np.array([max(e.lead_s or 0.0, 0.0) for e in slow])
    return {
        "events": len(events),
        "events_detected": warned,
        "recall": _share(warned, len(events)),
        "recall_ci": list(share_interval(warned, len(events))),
        "lead_time_median_s": _percentile(lead, 50),
        "lead_time_p10_s": _percentile(lead, 10),
        "slow_events": len(slow),
        "slow_in_time": in_time,
        "slow_in_time_share": _share(in_time, len(slow)),
        "slow_in_time_ci": list(share_interval(in_time, len(slow))),
        "slow_lead_time_median_s": _percentile(slow_lead, 50),
        "slow_lead_time_p10_s": _percentile(slow_lead, 10),
        "slow_lead_by_mechanism": _median_leads(slow),
        "fast_events": len(fast),
        "fast_prompt": prompt,
        "fast_prompt_share": _share(prompt, len(fast)),
        "fast_prompt_ci": list(share_interval(prompt, len(fast))),
        "fast_first": first,
        "fast_first_share": _share(first, len(fast)),
        "fast_first_ci": list(share_interval(first, len(fast))),
        "fast_alarmed": known,
        "fast_delay_median_s": _percentile(delay, 50),
        "fast_delay_p90_s": _percentile(delay, 90),
    }


def _median_leads(events: Sequence[EventOutcome]) -> dict[str, float]:
    """Median lead time by mechanism and sensors, s. Names have no commas, which MLflow rejects in metric names."""
    leads = defaultdict(list)
    for event in events:
        leads[f"{event.mechanism}/{event.about.sensors.replace(',', '')}"].append(max(event.lead_s or 0.0, 0.0))
    return {name: _percentile(np.array(of), 50) for name, of in sorted(leads.items())}


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _percentile(values: Float, percent: float) -> float:
    return round(float(np.percentile(values, percent)), 3) if len(values) else 0.0
