"""Performance of the model over the last days: alarms joined with labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.times import DAY_MS
from training.evaluation.alarm_outcomes import Alarm, match_alarms, share_interval
from training.evaluation.labelled_event import OUT_OF_SERVICE_MS, LabelledEvent
from training.monitoring.drift.events import PERFORMANCE, DriftEvent
from training.monitoring.performance.labels import EVENT, FALSE_ALARM, Label
from worker.alarms.alarms import MODEL
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.pipeline import Performance, Pipeline
from worker.encode.drift_sketch import WHOLE_FLEET


@dataclass(frozen=True)
class Figures:
    """The figures of the last days.

    Attributes:
        until_ts: time of the newest alarm or label, ms.
        events: number of confirmed events.
        warned: number of events with an alarm before the point of no return.
        late: number of events with an alarm only afterwards.
        alarms: number of alarms.
        confirmed: number of alarms that an event explains.
        false: number of alarms that were marked as false.
        precision: confirmed / (confirmed + false); None if both are 0.
        recall: warned / events; None without events.
        precision_ci, recall_ci: exact 95 % confidence intervals.
        lead_median_s, lead_p10_s: lead time before the point of no return; 0 for a missed event.
        missed: key and time of the events without a warning.
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
        """The figures as plain values."""
        return asdict(self)


def models_alarms(records: Iterable[Mapping[str, Any]], pipeline: Pipeline, keys: dict[str, int]) -> list[Alarm]:
    """As `alarms_from`, without those of rules, which say nothing of the model."""
    return [alarm for alarm in alarms_from(records, pipeline, keys) if alarm.rule == MODEL]


def alarms_from(records: Iterable[Mapping[str, Any]], pipeline: Pipeline, keys: dict[str, int]) -> list[Alarm]:
    """Alarms, oldest first, from the transitions on the topic.

    Args:
        records: of the topic of alarms; those of one key are in order.
        pipeline: declares the fields.
        keys: number of each key; new keys are added.
    """
    source = pipeline.input
    found: dict[str, Alarm] = {}
    for published in records:
        record = pipeline.outputs.with_engine_names(published)
        key = keys.setdefault(record[source.key], len(keys))
        ts, peak = record[source.time], record["peak_probability"]
        rule = record.get("rule") or MODEL
        alarm = found.setdefault(
            record["alarm_id"],
            Alarm(key, record["alarm_id"], record["onset_ts"], ts, record["priority"], peak, rule=rule),
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
    """Compare the alarms of the last days with the labels, as a backtest does with the events of a recording.

    An alarm that no event explains counts as false only if a label says so; nobody has checked the others yet.
    """
    until_ts = max([a.ts for a in alarms] + [label.ts for label in labels], default=0)
    since_ts = until_ts - limits.days * DAY_MS
    events = [
        LabelledEvent(keys.setdefault(label.key, len(keys)), label.ts, label.ts + OUT_OF_SERVICE_MS)
        for label in labels
        if label.kind == EVENT and label.ts > since_ts
    ]
    # An alarm before these days can still be the warning of an event within them.
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
    """Ids of alarms marked as false: the last alarm of the label's key that began before the time of the label.

    Args:
        labels: of all kinds.
        alarms: oldest first for each key.
        keys: number of each key.
    """
    found: set[str] = set()
    for label in labels:
        if label.kind == FALSE_ALARM:
            number = keys.get(label.key)
            before = [a for a in alarms if a.key == number and a.onset_ts <= label.ts]
            found.update(a.alarm_id for a in before[-1:])
    return found


def degradation(found: Figures, limits: Performance, labelled_at: int) -> list[DriftEvent]:
    """Events that say whether precision and recall are below their limits; none if there are too few labels.

    Args:
        found: the figures.
        limits: of the pipeline.
        labelled_at: time of the last label, ms: labels of past events change the figures, too.
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
