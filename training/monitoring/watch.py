"""One look at what is watched, or one look after the other: findings, events and metrics."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from common.errors import DependencyDownError, UserError
from common.text import in_label
from training.monitoring.drift.check import SiteState, Watched, check
from training.monitoring.drift.events import DriftEvent, Place, Published, anew, standing, transitions
from training.monitoring.drift.history import Histories
from training.monitoring.performance.labels import labels_from
from training.monitoring.performance.rolling import Figures, alarms_from, degradation, figures
from training.monitoring.topics import MonitoringTopics
from worker.model.reference import Reference
from worker.observe.metrics import DriftMetrics

_LOG = structlog.get_logger(__name__)


@dataclass
class Look:
    """What a look found.

    Attributes:
        watched: all that was held against a limit.
        states: how far each site is known.
        figures: performance; None without labels.
        told: transitions that the topic of events did not have yet.
        standing: what holds now.
    """

    watched: list[Watched]
    states: dict[str, SiteState]
    figures: Figures | None
    told: list[DriftEvent]
    standing: list[Place]

    def as_json(self) -> dict[str, Any]:
        """Plain values: state of the sites, what stands, what is new."""
        return {
            "sites": {
                site: {
                    "baseline_days": state.baseline_days,
                    "learning": state.learning,
                    "until_ts": state.until_ts,
                    "model": state.history.model,
                    "reference": state.history.reference,
                }
                for site, state in self.states.items()
            },
            "active": [dict(zip(("site", "kind", "subject"), place, strict=True)) for place in self.standing],
            "new_events": [event.record() for event in self.told],
            "performance": None if self.figures is None else self.figures.as_json(),
        }


@dataclass
class Watch:
    """Reads the monitoring topics on and on, and keeps what it read.

    Attributes:
        load_reference: gives the reference of the model in use; None where it is not to be had.
    """

    topics: MonitoringTopics
    load_reference: Callable[[], Reference | None]
    reference: Reference | None = None
    histories: Histories = field(default_factory=Histories)
    _records: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"events": [], "labels": [], "alarms": []}
    )

    def look(self, *, publish: bool) -> Look:
        """Read what is new, judge, and publish what is not told yet.

        Raises:
            DependencyDownError: broker or registry does not answer; look again.
        """
        for sketch in self.topics.news("sketches"):
            self.histories.add(sketch)
        for role, records in self._records.items():
            records.extend(self.topics.news(role))
        published = Published.of(self._records["events"])
        current = self.histories.current()
        if current and (self.reference is None or self.reference.digest not in {h.reference for h in current.values()}):
            self.reference = self.load_reference()  # the workers may have a new model
        watched, states = check(current, self.reference, published.since)
        found = self._figures()
        labelled_at = max((record["labelled_at"] for record in self._records["labels"]), default=0)
        limits = self.topics.monitor.performance
        performance = [] if found is None else degradation(found, limits, labelled_at)
        told = published.still_to_tell([*transitions(watched, states), *performance])
        with_told = Published.of([*self._records["events"], *(event.record() for event in told)])
        if self.reference is not None:  # without it nothing is known of what the model was not trained for
            told += anew(with_told, watched, states)
        if publish and told:
            self.topics.publish("events", [(event.site, event.record()) for event in told])
            self._records["events"].extend(self.topics.news("events"))
        known = [*self._records["events"], *([] if publish else (event.record() for event in told))]
        return Look(watched, states, found, told, standing(Published.of(known)))

    def _figures(self) -> Figures | None:
        labels = labels_from(self._records["labels"], self.topics.pipeline)
        if not labels:
            return None
        keys: dict[str, int] = {}
        records = self._records["alarms"]
        alarms = alarms_from(records, self.topics.pipeline, keys)
        model = (records[-1]["model_name"], records[-1]["model_version"]) if records else ("", "")
        return figures(alarms, labels, keys, self.topics.monitor.performance, model)


def watch(
    watch: Watch, metrics: DriftMetrics, every_s: float, stop: threading.Event, say: Callable[[Look], None]
) -> None:
    """Look every so often until stopped. What is down is waited for; what fails is tried again at the next look.

    Raises:
        UserError: something stood in the way of looking from the start.
    """
    begun = False
    while not stop.is_set():
        try:
            if not begun:
                watch.look(publish=False)
                begun = True
            look = watch.look(publish=True)
        except DependencyDownError as down:
            _LOG.warning("waiting", dependency=down.dependency, reason=down.reason)
            metrics.failed.inc()
        except UserError as error:
            if not begun:
                raise
            # Somebody has to put it right: tell it at each look until then.
            _LOG.error("look failed", reason=str(error))
            metrics.failed.inc()
        else:
            show(look, metrics)
            say(look)
        stop.wait(every_s)


def show(look: Look, metrics: DriftMetrics) -> None:
    """Set the metrics to what a look found."""
    metrics.checks.inc()
    for gauge in (metrics.active, metrics.distance, metrics.missing):
        gauge.clear()
    for site, state in look.states.items():
        metrics.until.labels(in_label(site)).set(state.until_ts / 1000)
        metrics.baseline.labels(in_label(site)).set(86_400 * state.baseline_days)
    for place in look.standing:
        metrics.active.labels(*map(in_label, place)).set(1)
    shown = {"missing": metrics.missing, "drift": metrics.distance}
    for one in (one for one in look.watched if one.kind in shown):
        for subject, value in zip(one.subjects, one.value[-1].tolist(), strict=True):
            shown[one.kind].labels(in_label(one.site), in_label(subject)).set(value)
    for event in look.told:
        metrics.events.labels(event.kind, event.state).inc()
    if look.figures is not None:
        figures = look.figures
        gauges = (metrics.precision, metrics.recall, metrics.lead)
        for gauge, value in zip(gauges, (figures.precision, figures.recall, figures.lead_median_s), strict=True):
            if value is not None:
                gauge.set(value)
