"""How good the model has been of late: alarms joined with what people confirmed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.times import DAY_MS
from training.backtest.labels import OUT_OF_SERVICE_MS, LabelledEvent
from training.evaluation.alarm_outcomes import Alarm, match_alarms, share_interval
from training.monitoring.drift.events import PERFORMANCE, DriftEvent
from training.monitoring.performance.labels import EVENT, FALSE_ALARM, Label
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.pipeline import Performance, Pipeline
from worker.encode.drift_sketch import WHOLE_FLEET


@dataclass(frozen=True)
class Figures:
    """What the last days came to.

    Attributes:
        until_ts: end of what was looked at: the newest alarm or label, ms.
        events: confirmed.
        warned: of those, alarmed before the point of no return.
        late: of those, alarmed only afterwards.
        alarms: raised.
        confirmed: of those, with an event behind them.
        false: of those, marked as false alarms.
        precision: confirmed of those that are confirmed or marked; None: none is.
        recall: warned of the events; None: there were none.
        precision_ci, recall_ci: exact 95 % confidence intervals.
        lead_median_s, lead_p10_s: before the point of no return; a missed event leads by nothing.
        missed: key and time of the events that were not warned of.
    """

    until_ts: int
    events: int
    warned: int
    late: int
    alarms: int
    confirmed: int
    false: int
    precision: float | None
    recall: float | None
    precision_ci: tuple[float, float]
    recall_ci: tuple[float, float]
    lead_median_s: float | None
    lead_p10_s: float | None
    missed: tuple[tuple[str, int], ...]
    model: tuple[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def alarms_from(records: Iterable[Mapping[str, Any]], pipeline: Pipeline, keys: dict[str, int]) -> list[Alarm]:
    """Alarms, oldest first, from the transitions on the topic.

    Args:
        records: of the topic of alarms, those of a key in order.
        pipeline: names the fields.
        keys: number of each key; grows.
    """
    source = pipeline.input
    found: dict[str, Alarm] = {}
    for published in records:
        record = pipeline.outputs.by_word(published)
        key = keys.setdefault(record[source.key], len(keys))
        ts, peak = record[source.time], record["peak_probability"]
        alarm = found.setdefault(
            record["alarm_id"], Alarm(key, record["alarm_id"], record["onset_ts"], ts, record["priority"], peak)
        )
        alarm.priority, alarm.peak = record["priority"], max(alarm.peak, peak)
        if record["state"] == RTN:
            alarm.cleared_ts = ts
    return sorted(found.values(), key=lambda alarm: alarm.ts)


def figures(
    alarms: Sequence[Alarm],
    labels: Sequence[Label],
    keys: dict[str, int],
    limits: Performance,
    model: tuple[str, str],
) -> Figures:
    """Judge the last days' alarms by the labels, as `training.evaluation.alarm_outcomes` does a recording's.

    An alarm that no event explains is false only if somebody said so: nobody has looked at the others yet.
    """
    until_ts = max([a.ts for a in alarms] + [label.ts for label in labels], default=0)
    since_ts = until_ts - limits.days * DAY_MS
    events = [
        LabelledEvent(keys.setdefault(label.key, len(keys)), label.ts, label.ts + OUT_OF_SERVICE_MS)
        for label in labels
        if label.kind == EVENT and label.ts > since_ts
    ]
    # A warning that came before these days is still one of an event within them.
    looked_at = [a for a in alarms if a.ts > since_ts - limits.horizon_ms]
    judged = match_alarms(looked_at, events, limits.horizon_ms)
    said = marked(labels, looked_at, keys)
    false = sum(
        verdict == "false" and alarm.alarm_id in said and alarm.ts > since_ts
        for alarm, verdict in zip(looked_at, judged.verdicts, strict=True)
    )
    confirmed = sum(verdict != "false" for verdict in judged.verdicts)
    names = {number: name for name, number in keys.items()}
    return Figures(
        until_ts,
        len(events),
        judged.detected,
        judged.late,
        sum(a.ts > since_ts for a in looked_at),
        confirmed,
        false,
        confirmed / (confirmed + false) if confirmed + false else None,
        judged.detected / len(events) if events else None,
        share_interval(confirmed, confirmed + false),
        share_interval(judged.detected, len(events)),
        judged.lead_percentile_s(50),
        judged.lead_percentile_s(10),
        tuple(
            (names[event.key], event.ts)
            for event, lead in zip(events, judged.event_lead_s, strict=True)
            if lead is None or lead < 0
        ),
        model,
    )


def marked(labels: Iterable[Label], alarms: Sequence[Alarm], keys: Mapping[str, int]) -> set[str]:
    """Ids of alarms marked as false: of the label's key, the one that stood at its time or was raised last before.

    Args:
        labels: of all kinds.
        alarms: of each key, oldest first.
        keys: number of each.
    """
    found: set[str] = set()
    for label in labels:
        if label.kind == FALSE_ALARM:
            number = keys.get(label.key)
            before = [a for a in alarms if a.key == number and a.onset_ts <= label.ts]
            found.update(a.alarm_id for a in before[-1:])
    return found


def degradation(found: Figures, limits: Performance, labelled_at: int) -> list[DriftEvent]:
    """Whether precision and recall are below their limits now, as transitions; nothing where too little is known.

    Args:
        found: the figures.
        limits: of the pipeline.
        labelled_at: when the last label was given, ms: what is known changes with what is said of the past, too.
    """
    judged = (
        ("precision", found.precision, limits.precision, found.confirmed + found.false),
        ("recall", found.recall, limits.recall, found.events),
    )
    return [
        DriftEvent(
            WHOLE_FLEET,
            PERFORMANCE,
            name,
            ACTIVE if value < limit else RTN,
            max(found.until_ts, labelled_at),
            value,
            limit,
            found.model,
        )
        for name, value, limit, count in judged
        if value is not None and count >= limits.labels
    ]
