"""What the shadow's records say of champion and challenger, held against what people confirmed."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from training.backtest.events import Event as Hazard
from training.backtest.judge import Alarm, judge, poisson_interval, share_interval
from training.operators import REQUIRED_WARNING_S
from training.performance.labels import EVENT, FALSE_ALARM, Label
from worker.alarms import ACTIVE, RTN
from worker.pipeline import Input

_HOUR_MS, _WRECK_MS = 3_600_000, 86_400_000
MODELS = ("champion", "challenger")


@dataclass
class Side:
    """One model's alarms, folded from its transitions: of one that stands, a further ACTIVE is no new alarm."""

    alarms: list[Alarm] = field(default_factory=list)
    standing: dict[int, Alarm] = field(default_factory=dict)

    def note(self, module: int, ts: int, transition: str, probability: float) -> None:
        """Take down a transition; those of a module in order."""
        if transition == ACTIVE and module not in self.standing:
            alarm = Alarm(module, f"{module}/{ts}", ts, ts, "", probability)
            self.standing[module] = alarm
            self.alarms.append(alarm)
        elif transition == RTN and module in self.standing:
            self.standing.pop(module).cleared_ts = ts


@dataclass(frozen=True)
class Worth:
    """What one model's alarms were worth.

    Attributes:
        alarms: raised, or such as it would have raised.
        warned: events alarmed before the point of no return.
        in_time: events alarmed at least `REQUIRED_WARNING_S` before.
        late: events alarmed only afterwards.
        confirmed: alarms with an event behind them.
        marked: alarms that stood when an operator marked a false one.
        precision: confirmed of those that are confirmed or marked; None: none is.
        recall: warned of the events; None: there were none.
        lead_median_s, lead_p10_s: before the point of no return; a missed event leads by nothing.
        unexplained: alarms without an event.
        unexplained_per_module_day: their rate.
        precision_ci, recall_ci, unexplained_per_module_day_ci: exact 95 % confidence intervals.
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
    unexplained_per_module_day: float
    unexplained_per_module_day_ci: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """Both models on the same readings.

    Attributes:
        readings: that both scored.
        modules: whose they are.
        module_days: hours in which a module was seen, by 24.
        agreed: readings on the same side of both setpoints.
        difference_mean, difference_p99: of the probabilities, absolute.
        events: confirmed, of modules that were seen at the time.
    """

    champion_version: str
    challenger_version: str
    readings: int
    modules: int
    module_days: float
    agreed: int
    difference_mean: float
    difference_p99: float
    events: int
    champion: Worth
    challenger: Worth

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        agreement = self.agreed / self.readings if self.readings else None
        return asdict(self) | {
            "agreement": agreement,
            "agreement_ci": share_interval(self.agreed, self.readings),
        }


class Shadowed:
    """The shadow's records of two versions, added up.

    Args:
        source: names the fields of key and time.
        versions: of champion and challenger; records of others are passed over.
    """

    def __init__(self, source: Input, versions: tuple[str, str]) -> None:
        self._source, self._versions = source, versions
        self._numbers: dict[str, int] = {}
        self._hours: set[tuple[int, int]] = set()
        self._difference = array("d")
        self._agreed = 0
        self._places: set[tuple[int, int]] = set()
        self._sides = {model: Side() for model in MODELS}

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a ShadowScore; the same one again (without transactions, after a crash) changes nothing."""
        if tuple(record[f"{model}_version"] for model in MODELS) != self._versions:
            return
        place = record["source_partition"], record["source_offset"]
        if place in self._places:
            return
        self._places.add(place)
        module, ts = self._number(record[self._source.key]), record[self._source.time]
        self._hours.add((module, ts // _HOUR_MS))
        self._difference.append(abs(record["champion_probability"] - record["challenger_probability"]))
        self._agreed += record["champion_positive"] == record["challenger_positive"]
        for model, side in self._sides.items():
            if transition := record[f"{model}_alarm"]:
                side.note(module, ts, transition, record[f"{model}_probability"])

    def evidence(self, labels: Sequence[Label], horizon_ms: int) -> Evidence:
        """What it comes to.

        Args:
            labels: what people confirmed.
            horizon_ms: so long before an event an alarm is a warning of it.
        """
        difference = np.frombuffer(self._difference) if self._difference else np.zeros(1)
        events = [
            Hazard(self._numbers[label.module], label.ts, label.ts + _WRECK_MS)
            for label in labels
            if label.kind == EVENT and self._seen(label)
        ]
        marks = [(self._numbers[m.module], m.ts) for m in labels if m.kind == FALSE_ALARM and m.module in self._numbers]
        days = len(self._hours) / 24
        champion, challenger = (_worth(self._sides[model].alarms, events, marks, horizon_ms, days) for model in MODELS)
        return Evidence(
            *self._versions,
            readings=len(self._difference),
            modules=len(self._numbers),
            module_days=days,
            agreed=self._agreed,
            difference_mean=float(difference.mean()),
            difference_p99=float(np.percentile(difference, 99)),
            events=len(events),
            champion=champion,
            challenger=challenger,
        )

    def _number(self, module: str) -> int:
        return self._numbers.setdefault(module, len(self._numbers))

    def _seen(self, label: Label) -> bool:
        """Whether the module was in the shadow in the hour of the event, or the one before."""
        module, hour = self._numbers.get(label.module, -1), label.ts // _HOUR_MS
        return not self._hours.isdisjoint({(module, hour), (module, hour - 1)})


def _worth(
    alarms: Sequence[Alarm], events: Sequence[Hazard], marks: Sequence[tuple[int, int]], horizon_ms: int, days: float
) -> Worth:
    alarms = sorted(alarms, key=lambda alarm: alarm.ts)
    judged = judge(alarms, events, horizon_ms)
    unexplained = [a for a, verdict in zip(alarms, judged.verdicts, strict=True) if verdict == "false"]
    confirmed = len(alarms) - len(unexplained)
    marked = sum(any(_stood(alarm, *mark) for mark in marks) for alarm in unexplained)
    return Worth(
        alarms=len(alarms),
        warned=judged.detected,
        in_time=sum(lead is not None and lead >= REQUIRED_WARNING_S for lead in judged.event_lead_s),
        late=judged.late,
        confirmed=confirmed,
        marked=marked,
        precision=confirmed / (confirmed + marked) if confirmed + marked else None,
        precision_ci=share_interval(confirmed, confirmed + marked),
        recall=judged.detected / len(events) if events else None,
        recall_ci=share_interval(judged.detected, len(events)),
        lead_median_s=judged.lead_percentile_s(50),
        lead_p10_s=judged.lead_percentile_s(10),
        unexplained=len(unexplained),
        unexplained_per_module_day=len(unexplained) / days if days else 0.0,
        unexplained_per_module_day_ci=poisson_interval(len(unexplained), days),
    )


def _stood(alarm: Alarm, module: int, ts: int) -> bool:
    return alarm.module == module and alarm.ts <= ts and (alarm.cleared_ts is None or ts <= alarm.cleared_ts)
