"""Evidence on champion and challenger: shadow records compared with labels.

Batches that the challenger was too late for have no records, so its alarms are known only from the readings that it
scored. The champion's alarms are evaluated at the same readings: neither model profits from a gap.
"""

from array import array
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from common.arrays import Int
from common.times import HOUR_MS
from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S, Alarm, match_alarms, poisson_interval, share_interval
from training.evaluation.labelled_event import OUT_OF_SERVICE_MS, LabelledEvent
from training.monitoring.performance.labels import EVENT, Label
from training.monitoring.performance.rolling import marked, models_alarms
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.pipeline import Pipeline

_NONE = np.empty(0, np.int64)


@dataclass
class ChallengerAlarms:
    """The challenger's alarms, folded from its transitions. ACTIVE during an active alarm is not a new alarm."""

    alarms: list[Alarm] = field(default_factory=list)
    active: dict[int, Alarm] = field(default_factory=dict)

    def note(self, key: int, ts: int, transition: str, probability: float) -> None:
        """Add a transition; those of one key come in order."""
        if transition == ACTIVE and key not in self.active:
            alarm = Alarm(key, f"{key}/{ts}", ts, ts, "", probability)
            self.active[key] = alarm
            self.alarms.append(alarm)
        elif transition == RTN and key in self.active:
            self.active.pop(key).cleared_ts = ts


def as_seen(alarms: Iterable[Alarm], seen: Mapping[int, Int]) -> list[Alarm]:
    """Alarms as a subset of the readings shows them.

    An alarm is raised at the first of these readings at which it is active, and cleared at the first at which it no
    longer is. An alarm that is active at none of them is dropped. Two alarms with none of them in between are one.

    Args:
        alarms: oldest first for each key.
        seen: times of these readings by key, ms, ascending.
    """
    found: list[Alarm] = []
    last: dict[int, tuple[Alarm, int]] = {}
    for alarm in alarms:
        times = seen.get(alarm.key, _NONE)
        begin = int(np.searchsorted(times, alarm.ts))
        end = len(times) if alarm.cleared_ts is None else int(np.searchsorted(times, alarm.cleared_ts))
        if begin == end:
            continue
        cleared_ts = int(times[end]) if end < len(times) else None
        before, ended = last.get(alarm.key, (alarm, -1))
        if ended == begin:
            before.cleared_ts = cleared_ts
        else:
            before = replace(alarm, ts=int(times[begin]), cleared_ts=cleared_ts)
            found.append(before)
        last[alarm.key] = before, end
    return found


@dataclass(frozen=True)
class ModelResults:
    """Results of one model.

    Attributes:
        alarms: number of alarms that it raised, or would have raised.
        warned: number of events alarmed before the point of no return.
        in_time: number of events alarmed at least `REQUIRED_WARNING_S` before.
        late: number of events alarmed only afterwards.
        confirmed: number of alarms that an event explains.
        marked: number of alarms that are marked as false and that no event explains.
        precision: confirmed / (confirmed + marked); None if both are 0.
        recall: warned / events; None without events.
        lead_median_s, lead_p10_s: lead time before the point of no return; 0 for a missed event.
        unexplained: number of alarms without an event.
        unexplained_per_key_day: their rate.
        precision_ci, recall_ci, unexplained_per_key_day_ci: exact 95 % confidence intervals.
    """

    alarms: int
    warned: int
    in_time: int
    late: int
    confirmed: int
    marked: int
    precision: float | None
    precision_ci: tuple[float, float]
    recall: float | None
    recall_ci: tuple[float, float]
    lead_median_s: float | None
    lead_p10_s: float | None
    unexplained: int
    unexplained_per_key_day: float
    unexplained_per_key_day_ci: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """Both models on the same readings.

    Attributes:
        readings: number of readings that both scored.
        keys: number of their keys.
        key_days: number of hours with readings, summed over keys, divided by 24.
        agreed: number of readings on the same side of both setpoints.
        difference_mean, difference_p99: absolute difference of the probabilities.
        events: number of confirmed events of keys with readings at the time.
        unknown_keys: keys with labels that the shadow has never seen.
    """

    champion_version: str
    challenger_version: str
    readings: int
    keys: int
    key_days: float
    agreed: int
    difference_mean: float
    difference_p99: float
    events: int
    unknown_keys: tuple[str, ...]
    champion: ModelResults
    challenger: ModelResults

    def as_json(self) -> dict[str, Any]:
        """Plain values; a bound may be infinite (see `common.json_text.strict_json`)."""
        agreement = self.agreed / self.readings if self.readings else None
        interval = share_interval(self.agreed, self.readings)
        return asdict(self) | {"agreement": agreement, "agreement_ci": interval}


class ShadowRecords:
    """Sums the shadow records of two versions.

    Args:
        pipeline: declares the fields.
        versions: of champion and challenger; other records are ignored.
    """

    def __init__(self, pipeline: Pipeline, versions: tuple[str, str]) -> None:
        self._pipeline, self._source, self._versions = pipeline, pipeline.input, versions
        self._numbers: dict[str, int] = {}
        self._hours: set[tuple[int, int]] = set()
        self._difference = array("d")
        self._agreed = 0
        self._places: set[tuple[int, int]] = set()
        self._times: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._challenger_alarms = ChallengerAlarms()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a ShadowScore. A repeated one (without transactions, after a crash) changes nothing."""
        if (record["champion_version"], record["challenger_version"]) != self._versions:
            return
        place = record["source_partition"], record["source_offset"]
        if place in self._places:
            return
        self._places.add(place)
        key, ts = self._number(record[self._source.key]), record[self._source.time]
        self._hours.add((key, ts // HOUR_MS))
        self._difference.append(abs(record["champion_probability"] - record["challenger_probability"]))
        self._agreed += record["champion_positive"] == record["challenger_positive"]
        self._times[key].append(ts)
        if transition := record["challenger_alarm"]:
            self._challenger_alarms.note(key, ts, transition, record["challenger_probability"])

    def evidence(self, labels: Sequence[Label], published: Iterable[Mapping[str, Any]], horizon_ms: int) -> Evidence:
        """The evidence so far.

        Args:
            labels: what people confirmed.
            published: the champion's records on the topic of alarms; those of one key are in order.
            horizon_ms: how long before an event an alarm counts as its warning.
        """
        difference = np.frombuffer(self._difference) if self._difference else np.zeros(1)
        events = [
            LabelledEvent(self._numbers[label.key], label.ts, label.ts + OUT_OF_SERVICE_MS)
            for label in labels
            if label.kind == EVENT and self._seen(label)
        ]
        times = {key: np.sort(np.frombuffer(ts, np.int64)) for key, ts in self._times.items()}
        raised, days = models_alarms(published, self._pipeline, dict(self._numbers)), len(self._hours) / 24
        champion, challenger = (
            _results_of(alarms, events, marked(labels, known, self._numbers), horizon_ms, days)
            for alarms, known in (
                (as_seen(raised, times), raised),
                (self._challenger_alarms.alarms, self._challenger_alarms.alarms),
            )
        )
        return Evidence(
            *self._versions,
            readings=len(self._difference),
            keys=len(self._numbers),
            key_days=days,
            agreed=self._agreed,
            difference_mean=float(difference.mean()),
            difference_p99=float(np.percentile(difference, 99)),
            events=len(events),
            unknown_keys=tuple(sorted({label.key for label in labels} - self._numbers.keys())),
            champion=champion,
            challenger=challenger,
        )

    def _number(self, key: str) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _seen(self, label: Label) -> bool:
        """Whether the shadow has readings of the key in the hour of the event or the one before."""
        key, hour = self._numbers.get(label.key, -1), label.ts // HOUR_MS
        return not self._hours.isdisjoint({(key, hour), (key, hour - 1)})


def _results_of(
    alarms: Sequence[Alarm], events: Sequence[LabelledEvent], marks: Container[str], horizon_ms: int, days: float
) -> ModelResults:
    alarms = sorted(alarms, key=lambda alarm: alarm.ts)
    judged = match_alarms(alarms, events, horizon_ms)
    unexplained = [a for a, verdict in zip(alarms, judged.verdicts, strict=True) if verdict == "false"]
    confirmed = len(alarms) - len(unexplained)
    told = sum(alarm.alarm_id in marks for alarm in unexplained)
    return ModelResults(
        alarms=len(alarms),
        warned=judged.detected,
        in_time=sum(lead is not None and lead >= REQUIRED_WARNING_S for lead in judged.event_lead_s),
        late=judged.late,
        confirmed=confirmed,
        marked=told,
        precision=confirmed / (confirmed + told) if confirmed + told else None,
        precision_ci=share_interval(confirmed, confirmed + told),
        recall=judged.detected / len(events) if events else None,
        recall_ci=share_interval(judged.detected, len(events)),
        lead_median_s=judged.lead_percentile_s(50),
        lead_p10_s=judged.lead_percentile_s(10),
        unexplained=len(unexplained),
        unexplained_per_key_day=len(unexplained) / days if days else 0.0,
        unexplained_per_key_day_ci=poisson_interval(len(unexplained), days),
    )
