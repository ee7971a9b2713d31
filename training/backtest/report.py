"""The result of a backtest as one JSON object, and as tables for a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.terminal import styled
from common.text import markup, shown
from common.times import iso_utc
from producers.recordings.series import RELATIVE_START_MS
from training.backtest.caveats import lacking, typical_s, warnings
from training.backtest.run import Backtest
from training.evaluation.alarm_outcomes import CONFIDENCE, Alarm, AlarmOutcomes, poisson_interval, share_interval
from worker.alarms.rules import MODEL_NAME
from worker.alarms.state_machine import AlarmPolicy
from worker.model.shap import value_text

_SHOWN = 20


def as_json(result: Backtest, model: str) -> dict[str, Any]:
    """The whole result. `model` describes the model that was used."""
    judged, events = result.judged, len(result.events)
    recorded = result.recorded
    return {
        "events": events,
        "detected": judged.detected,
        "late": judged.late,
        "missed": events - judged.detected - judged.late,
        "recall_interval": _rounded(share_interval(judged.detected, events)) if events else None,
        "lead_s_median": judged.lead_percentile_s(50),
        "lead_s_p10": judged.lead_percentile_s(10),
        "false_alarms": judged.false_alarms,
        "false_alarms_per_key_day": _rate(judged, result),
        "false_alarms_per_key_day_interval": _interval(judged, result),
        "confidence": CONFIDENCE,
        "key_days": round(result.normal_days, 4),
        "key_days_recorded": round(result.days, 4),
        "readings": len(recorded),
        "readings_scored": result.scored,
        "readings_per_s": round(len(recorded) / result.reading_and_scoring_s, 1),
        "seconds": round(result.seconds, 3),
        "keys": len(recorded.names),
        "model": model,
        "alarm_policy": result.policy.model_dump(),
        "horizon_s": result.horizon_ms / 1000,
        "sensors": list(recorded.sensors),
        "sensors_lacking": lacking(result),
        "times": recorded.times,
        "period_s": typical_s(recorded.periods_ms),
        "thinned_to_s": typical_s({m: ms for m, ms in result.every_ms.items() if ms}),
        "left_out": dict(recorded.loaded.left_out),
        "understood": result.understood,
        "refused": dict(result.refused),
        "masked": dict(result.masked),
        "not_assessable": dict(result.not_assessable),
        "warnings": warnings(result),
        "alarm_list": _alarms(result),
        "event_list": [
            {"key": recorded.names[e.key][0], **_when(result, e.key, e.ts), "lead_s": lead}
            for e, lead in zip(result.events, judged.event_lead_s, strict=True)
        ],
        "sweep": [_policy(policy, tried, result) for policy, tried in result.swept],
    }


def _policy(policy: AlarmPolicy, judged: AlarmOutcomes, result: Backtest) -> dict[str, Any]:
    return {
        "setpoint": policy.setpoint,
        "on_delay_s": policy.on_delay_ms / 1000,
        "in_force": policy == result.policy,
        "detected": judged.detected,
        "late": judged.late,
        "lead_s_median": judged.lead_percentile_s(50),
        "lead_s_p10": judged.lead_percentile_s(10),
        "false_alarms": judged.false_alarms,
        "false_alarms_per_key_day": _rate(judged, result),
        "false_alarms_per_key_day_interval": _interval(judged, result),
    }


def _alarms(result: Backtest) -> list[dict[str, Any]]:
    """Each priority of all alarms, oldest first. Alarms that say that the model cannot judge have no verdict."""
    judged = zip(result.alarms, result.judged.verdicts, result.judged.lead_s, strict=True)
    every = [*judged, *((alarm, None, None) for alarm in result.maintenance)]
    risen = [(ts, each, priority) for each in every for priority, ts in each[0].since.items()]
    return [
        _alarm(result, *each, priority, ts) for ts, each, priority in sorted(risen, key=lambda r: (r[0], r[1][0].key))
    ]


def _alarm(
    result: Backtest, alarm: Alarm, verdict: str | None, lead_s: float | None, priority: str, ts: int
) -> dict[str, Any]:
    ended = None if alarm.cleared_ts is None else round((alarm.cleared_ts - ts) / 1000, 3)
    return {
        "alarm_id": alarm.alarm_id,
        "key": result.recorded.names[alarm.key][0],
        "module": result.recorded.names[alarm.key][0],
        **_when(result, alarm.key, ts),
        "verdict": verdict,
        "lead_s": None if lead_s is None else lead_s - (ts - alarm.ts) / 1000,
        "priority": priority,
        "rule": alarm.rule or MODEL_NAME,
        "peak_probability": alarm.peak,
        "lasted_s": ended,
        "contributions": [
            {"feature": c.feature, "value": c.value, "per": c.per, "contribution": c.contribution}
            for c in alarm.contributions[:5]
        ],
    }


def _when(result: Backtest, key: int, ts: int) -> dict[str, Any]:
    """`ts` in ms since 1970 if the recording has absolute times, and `t_s` in seconds from the key's first reading."""
    t_s = (ts - result.recorded.spans[key].first_ts) / 1000
    return {"ts": None if result.recorded.relative else ts, "t_s": t_s}


def _rate(judged: AlarmOutcomes, result: Backtest) -> float | None:
    return round(judged.false_alarms / result.normal_days, 6) if result.normal_days else None


def _interval(judged: AlarmOutcomes, result: Backtest) -> list[float] | None:
    return _rounded(poisson_interval(judged.false_alarms, result.normal_days)) if result.normal_days else None


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(bound, 6) for bound in interval]


def as_tables(result: Backtest, model: str) -> RenderableType:
    """Tables for a terminal."""
    facts = as_json(result, model)
    parts: list[RenderableType] = [_summary(facts)]
    if result.alarms:
        parts.append(_alarm_table(result))
    if len(result.swept) > 1:
        parts.append(_sweep_table(result))
    return Group(*parts, *(styled(f"[yellow]note:[/] {markup(text)}") for text in facts["warnings"]))


def _summary(facts: dict[str, Any]) -> Table:
    table = Table(title="Backtest", show_header=False)
    low_high = facts["false_alarms_per_key_day_interval"]
    rate = (
        ""
        if low_high is None
        else f"{facts['false_alarms_per_key_day']:.3g} per key-day, 95 %: {low_high[0]:.2g} to {low_high[1]:.2g}"
    )
    recall = facts["recall_interval"]
    sure = (
        ""
        if recall is None
        else f"95 %: {recall[0]:.0%} to {recall[1]:.0%}; {facts['late']} late, {facts['missed']} missed"
    )
    policy = facts["alarm_policy"]
    for row in (
        ("model", facts["model"], f"setpoint {policy['setpoint']}, on-delay {policy['on_delay_ms'] / 1000:g} s"),
        (
            "readings",
            f"{facts['readings']:,}",
            f"{facts['readings_per_s']:,.0f} readings/s; {facts['keys']} keys",
        ),
        ("key-days", f"{facts['key_days']:.3f}", "of normal operation"),
        ("events detected", f"{facts['detected']} of {facts['events']}", sure),
        ("lead", _minutes(facts["lead_s_median"]), f"median; 10th percentile {_minutes(facts['lead_s_p10'])}"),
        ("false alarms", str(facts["false_alarms"]), rate),
    ):
        table.add_row(row[0], Text(shown(row[1]), "bold"), Text(shown(row[2])))
    return table


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f} min"


def _alarm_table(result: Backtest) -> Table:
    hidden = len(result.alarms) - _SHOWN
    table = Table(title="Alarms", caption=f"and {hidden} more (--json has all)" if hidden > 0 else None)
    for name in ("key", "raised", "outcome", "lead", "priority", "peak", "main features"):
        table.add_column(name, overflow="fold")
    for i, alarm in enumerate(result.alarms[:_SHOWN]):
        verdict, lead = result.judged.verdicts[i], result.judged.lead_s[i]
        colour = {"warning": "green", "late": "yellow", "false": "red"}[verdict]
        table.add_row(
            Text(shown(result.recorded.names[alarm.key][0])),
            _moment(result, alarm),
            Text(verdict, colour),
            _minutes(lead),
            Text(shown(alarm.priority)),
            f"{alarm.peak:.4f}",
            Text(shown(", ".join(f"{c.feature} {value_text(c.value, digits=4)}" for c in alarm.contributions[:3]))),
        )
    return table


def _moment(result: Backtest, alarm: Alarm) -> str:
    if result.recorded.relative:
        return f"{(alarm.ts - RELATIVE_START_MS) / 1000:,.0f} s"
    return iso_utc(alarm.ts)


def _sweep_table(result: Backtest) -> Table:
    delays = sorted({policy.on_delay_ms for policy, _ in result.swept})
    found = {(policy.setpoint, policy.on_delay_ms): judged for policy, judged in result.swept}
    what = "false alarms / events detected / median lead" if result.events else "false alarms"
    table = Table(title=f"Other policies: {what}, by setpoint and on-delay")
    table.add_column("setpoint")
    for delay in delays:
        table.add_column(f"{delay / 1000:g} s", justify="right")
    for setpoint in sorted({policy.setpoint for policy, _ in result.swept}):
        row = []
        for delay in delays:
            judged = found[setpoint, delay]
            text = str(judged.false_alarms)
            if result.events:
                text += f" / {judged.detected} / {_minutes(judged.lead_percentile_s(50))}"
            own = (setpoint, delay) == (result.policy.setpoint, result.policy.on_delay_ms)
            row.append(Text(text, "bold" if own else ""))
        table.add_row(f"{setpoint:g}", *row)
    return table
