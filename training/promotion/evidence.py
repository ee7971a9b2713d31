"""What the shadow's records say of champion and challenger, held against what people confirmed.

Batches that the challenger was late for have no records. Its own alarms are known only from readings that it scored; so
the champion's, of which all is known, are looked at from those readings alone: neither gains by a gap.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from common.arrays import Int
from common.times import HOUR_MS
from training.backtest.labels import OUT_OF_SERVICE_MS, LabelledEvent
from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S, Alarm, match_alarms, poisson_interval, share_interval
from training.monitoring.performance.labels import EVENT, Label
from training.monitoring.performance.rolling import alarms_from, marked
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.pipeline import Pipeline

_NONE = np.empty(0, np.int64)


@dataclass
class WouldBe:
    """The challenger's alarms, folded from its transitions: of one that stands, a further ACTIVE is no new alarm."""

    alarms: list[Alarm] = field(default_factory=list)
    standing: dict[int, Alarm] = field(default_factory=dict)

    def note(self, key: int, ts: int, transition: str, probability: float) -> None:
        """Take down a transition; those of a key in order."""
        if transition == ACTIVE and key not in self.standing:
            alarm = Alarm(key, f"{key}/{ts}", ts, ts, "", probability)
            self.standing[key] = alarm
            self.alarms.append(alarm)
        elif transition == RTN and key in self.standing:
            self.standing.pop(key).cleared_ts = ts


def as_seen(alarms: Iterable[Alarm], seen: Mapping[int, Int]) -> list[Alarm]:
    """Alarms as they look from some of the readings.

    One is raised, and cleared, at the first of them from which it stands, and no longer does; one that stood at none is
    left out. One that follows upon another with none of them in between is that other, going on.

    Args:
        alarms: of each key, oldest first.
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
class Worth:
    """What one model's alarms were worth.

    Attributes:
        alarms: raised, or such as it would have raised.
        warned: events alarmed before the point of no return.
        in_time: events alarmed at least `REQUIRED_WARNING_S` before.
        late: events alarmed only afterwards.
        confirmed: alarms with an event behind them.
        marked: alarms that an operator marked as false, and no event explains.
        precision: confirmed of those that are confirmed or marked; None: none is.
        recall: warned of the events; None: there were none.
        lead_median_s, lead_p10_s: before the point of no return; a missed event leads by nothing.
        unexplained: alarms without an event.
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
        readings: that both scored.
        keys: whose they are.
        key_days: hours in which a key was seen, by 24.
        agreed: readings on the same side of both setpoints.
        difference_mean, difference_p99: of the probabilities, absolute.
        events: confirmed, of keys that were seen at the time.
        unknown_keys: that there are labels of, and that the shadow has never seen.
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
    champion: Worth
    challenger: Worth

    def as_json(self) -> dict[str, Any]:
        """Plain values; a bound that is infinite is None, as JSON has no such number."""
        agreement = self.agreed / self.readings if self.readings else None
        values = asdict(self) | {
            "agreement": agreement,
            "agreement_ci": share_interval(self.agreed, self.readings),
        }
        plain: dict[str, Any] = json.loads(json.dumps(values), parse_constant=lambda _: None)
        return plain


class Shadowed:
    """The shadow's records of two versions, added up.

    Args:
        pipeline: names the fields.
        versions: of champion and challenger; records of others are passed over.
    """

    def __init__(self, pipeline: Pipeline, versions: tuple[str, str]) -> None:
        self._pipeline, self._source, self._versions = pipeline, pipeline.input, versions
        self._numbers: dict[str, int] = {}
        self._hours: set[tuple[int, int]] = set()
        self._difference = array("d")
        self._agreed = 0
        self._places: set[tuple[int, int]] = set()
        self._times: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._would_be = WouldBe()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a ShadowScore; the same one again (without transactions, after a crash) changes nothing."""
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
            self._would_be.note(key, ts, transition, record["challenger_probability"])

    def evidence(self, labels: Sequence[Label], published: Iterable[Mapping[str, Any]], horizon_ms: int) -> Evidence:
        """What it comes to.

        Args:
            labels: what people confirmed.
            published: records of the topic of alarms, the champion's, those of a key in order.
            horizon_ms: so long before an event an alarm is a warning of it.
        """
        difference = np.frombuffer(self._difference) if self._difference else np.zeros(1)
        events = [
            LabelledEvent(self._numbers[label.key], label.ts, label.ts + OUT_OF_SERVICE_MS)
            for label in labels
            if label.kind == EVENT and self._seen(label)
        ]
        times = {key: np.sort(np.frombuffer(ts, np.int64)) for key, ts in self._times.items()}
        raised, days = alarms_from(published, self._pipeline, dict(self._numbers)), len(self._hours) / 24
        champion, challenger = (
            _worth(alarms, events, marked(labels, known, self._numbers), horizon_ms, days)
            for alarms, known in ((as_seen(raised, times), raised), (self._would_be.alarms, self._would_be.alarms))
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
        """Whether the key was in the shadow in the hour of the event, or the one before."""
        key, hour = self._numbers.get(label.key, -1), label.ts // HOUR_MS
        return not self._hours.isdisjoint({(key, hour), (key, hour - 1)})


def _worth(
    alarms: Sequence[Alarm], events: Sequence[LabelledEvent], marks: Container[str], horizon_ms: int, days: float
) -> Worth:
    alarms = sorted(alarms, key=lambda alarm: alarm.ts)
    judged = match_alarms(alarms, events, horizon_ms)
    unexplained = [a for a, verdict in zip(alarms, judged.verdicts, strict=True) if verdict == "false"]
    confirmed = len(alarms) - len(unexplained)
    told = sum(alarm.alarm_id in marks for alarm in unexplained)
    return Worth(
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
