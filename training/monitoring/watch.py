"""Checks drift and performance, once or periodically: results, events and metrics."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from common.errors import DependencyDownError, UserError
from common.text import in_label
from training.monitoring.drift.check import SiteState, Watched, check
from training.monitoring.drift.events import DriftEvent, Place, Published, active_places, corrections, transitions
from training.monitoring.drift.history import Histories
from training.monitoring.metrics import DriftMetrics
from training.monitoring.performance.labels import labels_from
from training.monitoring.performance.rolling import Figures, degradation, figures, models_alarms
from training.monitoring.topics import MonitoringTopics
from worker.model.reference import Reference
from worker.observe.metrics import show as show_all

_LOG = structlog.get_logger(__name__)


@dataclass
class Look:
    """The results of one check.

    Attributes:
        watched: all values that were compared with a limit.
        states: what is known of each site.
        figures: performance; None without labels.
        new_events: events that the topic did not have yet.
        active: the active states.
    """

    watched: list[Watched]
    states: dict[str, SiteState]
    figures: Figures | None
    new_events: list[DriftEvent]
    active: list[Place]

    def as_json(self) -> dict[str, Any]:
        """Plain values: the sites, the active states, the new events and the performance."""
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
            "active": [dict(zip(("site", "kind", "subject"), place, strict=True)) for place in self.active],
            "new_events": [event.record() for event in self.new_events],
            "performance": None if self.figures is None else self.figures.as_json(),
        }


@dataclass
class Watch:
    """Reads the monitoring topics, and keeps what it has read between two checks.

    Attributes:
        load_reference: loads the reference of the model in use; None if there is none.
    """

    topics: MonitoringTopics
    load_reference: Callable[[], Reference | None]
    reference: Reference | None = None
    histories: Histories = field(default_factory=Histories)
    _records: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"events": [], "labels": [], "alarms": []}
    )

    def look(self, *, publish: bool) -> Look:
        """Read new records, check them, and publish new events if asked to.

        Raises:
            DependencyDownError: broker or registry does not answer; call again.
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
        new = published.not_yet_published([*transitions(watched, states), *performance])
        with_new = Published.of([*self._records["events"], *(event.record() for event in new)])
        if self.reference is not None:  # without it the kind "untrained" cannot be checked
            new += corrections(with_new, watched, states)
        if publish and new:
            self.topics.publish("events", [(event.site, event.record()) for event in new])
            self._records["events"].extend(self.topics.news("events"))
        known = [*self._records["events"], *([] if publish else (event.record() for event in new))]
        return Look(watched, states, found, new, active_places(Published.of(known)))

    def _figures(self) -> Figures | None:
        labels = labels_from(self._records["labels"], self.topics.pipeline)
        if not labels:
            return None
        keys: dict[str, int] = {}
        records = self._records["alarms"]
        alarms = models_alarms(records, self.topics.pipeline, keys)
        model = (records[-1]["model_name"], records[-1]["model_version"]) if records else ("", "")
        return figures(alarms, labels, keys, self.topics.monitor.performance, model)


def watch(
    watch: Watch, metrics: DriftMetrics, every_s: float, stop: threading.Event, say: Callable[[Look], None]
) -> None:
    """Check periodically until stopped. After an error, the next check tries again.

    Raises:
        UserError: the first check failed.
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
            # An operator has to correct it: log it at each check until then.
            _LOG.error("check failed", reason=str(error))
            metrics.failed.inc()
        else:
            show(look, metrics)
            say(look)
        stop.wait(every_s)


def show(look: Look, metrics: DriftMetrics) -> None:
    """Set the metrics to the results of a check."""
    metrics.checks.inc()
    for site, state in look.states.items():
        metrics.until.labels(in_label(site)).set(state.until_ts / 1000)
        metrics.baseline.labels(in_label(site)).set(86_400 * state.baseline_days)
    show_all(metrics.active, {tuple(map(in_label, place)): 1 for place in look.active})
    shown: dict[str, dict[tuple[str, ...], float]] = {"missing": {}, "drift": {}}
    for one in (one for one in look.watched if one.kind in shown):
        for subject, value in zip(one.subjects, one.value[-1].tolist(), strict=True):
            shown[one.kind][in_label(one.site), in_label(subject)] = value
    show_all(metrics.missing, shown["missing"])
    show_all(metrics.distance, shown["drift"])
    for event in look.new_events:
        metrics.events.labels(event.kind, event.state).inc()
    if look.figures is not None:
        figures = look.figures
        gauges = (metrics.precision, metrics.recall, metrics.lead)
        for gauge, value in zip(gauges, (figures.precision, figures.recall, figures.lead_median_s), strict=True):
            if value is not None:
                gauge.set(value)
