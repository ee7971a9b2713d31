"""All metrics, each with its meaning. Updated once a batch, never per reading."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.arrays import Float

_PREFIX: Final = "hazardstream_"
_LATENCY_BOUNDS_S: Final = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600])
_DIFFERENCE_BOUNDS: Final = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])


class ColumnHistogram(Collector):
    """A Prometheus histogram that takes a column of values at once."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str, bounds: Float = _LATENCY_BOUNDS_S) -> None:
        self._name, self._meaning, self._bounds = name, meaning, bounds
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Float) -> None:
        """Count each of the values, shape [n]."""
        at = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[Metric]:
        """Give the histogram as Prometheus' client wants it."""
        names = [*(str(b) for b in self._bounds.tolist()), "+Inf"]
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric([], list(zip(names, np.cumsum(self._counts).tolist(), strict=True)), self._sum)
        yield family


class WatchMetrics:
    """How a model's alias is followed."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.swaps = Counter(prefix + "swaps_total", "Times another model took over in mid-run.", registry=registry)
        self.refused = Counter(
            prefix + "refused_total",
            "Models that the alias stood for and that were refused, by reason; /model says why.",
            ["reason"],
            registry=registry,
        )
        self.stale = Gauge(
            prefix + "stale",
            "1 while the alias stands for something that was refused; of champions the last good one goes on.",
            registry=registry,
        )
        self.source_down = Gauge(
            prefix + "source_down",
            "1 while the alias cannot be followed; /model says what does not answer.",
            registry=registry,
        )


class ShadowMetrics:
    """What a challenger scores in the shadow of the champion."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.info = Gauge(
            prefix + "challenger_info",
            "1 for the model that scores in the shadow.",
            ["name", "version"],
            registry=registry,
        )
        self.dropped = Counter(
            prefix + "challenger_dropped_total",
            "Times that a challenger failed and scores no more, or was too slow and rests for a while, by reason.",
            ["reason"],
            registry=registry,
        )
        self.scored = Counter(
            prefix + "shadow_scored_total",
            "Readings that the challenger scored, too, and committed.",
            registry=registry,
        )
        self.missed = Counter(
            prefix + "shadow_missed_total", "Readings that it was too slow for, or failed on.", registry=registry
        )
        self.agreed = Counter(
            prefix + "shadow_agreed_total",
            "Readings that champion and challenger put on the same side of their own setpoints.",
            registry=registry,
        )
        self.difference = ColumnHistogram(
            registry,
            prefix + "shadow_difference",
            "How far the two probabilities of a reading lie apart.",
            _DIFFERENCE_BOUNDS,
        )
        self.alarms = Counter(
            prefix + "shadow_alarms_total",
            "Alarms raised on readings that both scored: the champion's, and those that the challenger would raise.",
            ["model"],
            registry=registry,
        )


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._declare_readings(self.registry, _PREFIX)
        self._declare_batches(self.registry, _PREFIX)
        self._declare_models(self.registry, _PREFIX)
        self._declare_recoveries(self.registry, _PREFIX)
        self._declare_partitions(self.registry, _PREFIX)
        self._declare_rebuilds(self.registry, _PREFIX)

    def _declare_readings(self, r: CollectorRegistry, p: str) -> None:
        self.consumed = Counter(p + "consumed_total", "Messages taken from the input topic.", registry=r)
        self.scored = Counter(p + "scored_total", "Readings scored and committed.", registry=r)
        self.deduplicated = Counter(
            p + "deduplicated_total", "Readings dropped: same key, time and values as a recent one.", registry=r
        )
        self.dead_letters = Counter(
            p + "dead_letters_total", "Records sent to the dead-letter topic, by reason.", ["reason"], registry=r
        )
        self.masked = Counter(
            p + "masked_values_total", "Sensor values set aside as impossible, by sensor.", ["sensor"], registry=r
        )
        self.transitions = Counter(
            p + "alarm_transitions_total", "Alarm transitions published.", ["state", "priority"], registry=r
        )
        self.alarms_active = Gauge(p + "alarms_active", "Keys in alarm, by priority.", ["priority"], registry=r)
        self.sketched = Counter(
            p + "sketched_readings_total", "Readings counted in the sketches by which drift is found.", registry=r
        )

    def _declare_batches(self, r: CollectorRegistry, p: str) -> None:
        self.batch_readings = Histogram(
            p + "batch_messages",
            "Messages in a batch.",
            buckets=(1, 10, 50, 100, 500, 1000, 2000, 4000, 8000),
            registry=r,
        )
        self.stage_seconds = Histogram(
            p + "stage_seconds",
            "Time a batch spends in each stage.",
            ["stage"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=r,
        )
        self.latency_event = ColumnHistogram(
            r, p + "latency_from_event_seconds", "From a reading's event time to the commit of its score."
        )
        self.latency_broker = ColumnHistogram(
            r, p + "latency_from_broker_seconds", "From a reading's Kafka timestamp to the commit of its score."
        )

    def _declare_models(self, r: CollectorRegistry, p: str) -> None:
        self.model_info = Gauge(p + "model_info", "1 for the model that scores.", ["name", "version"], registry=r)
        self.model_failed = Counter(
            p + "model_failed_total",
            "Times a model failed while it scored and the last good one took its place; /ready says why.",
            registry=r,
        )
        self.champion_watch = WatchMetrics(r, p + "model_")
        self.challenger_watch = WatchMetrics(r, p + "challenger_")
        self.shadow = ShadowMetrics(r, p)

    def _declare_recoveries(self, r: CollectorRegistry, p: str) -> None:
        self.aborts = Counter(p + "transactions_aborted_total", "Transactions aborted and retried.", registry=r)
        self.producer_renewals = Counter(
            p + "producer_renewals_total",
            "Times the producer was replaced because the broker may still get a request that it did not answer.",
            registry=r,
        )
        self.restarts = Counter(
            p + "restarts_total",
            "Times the worker restarted in place: it could not know how a transaction ended, or the group fenced it.",
            registry=r,
        )
        self.first_commit = Gauge(
            p + "start_to_first_commit_seconds",
            "From the start of this process to its first committed batch; 0 before that.",
            registry=r,
        )
        self.stuck = Counter(
            p + "loop_stuck_total", "Times the loop did not come round for too long; see the log.", registry=r
        )
        self.waits = Counter(
            p + "dependency_waits_total", "Times the worker had to wait for a dependency.", ["dependency"], registry=r
        )

    def _declare_partitions(self, r: CollectorRegistry, p: str) -> None:
        self.partitions = Gauge(
            p + "partitions",
            "Partitions assigned to this worker, by state (restoring ones are ready, too).",
            ["state"],
            registry=r,
        )
        self.unreadable = Gauge(
            p + "partitions_unreadable",
            "Partitions that stand at a batch which the client cannot read; /ready says how to get past it.",
            registry=r,
        )
        self.lag = Gauge(
            p + "consumer_lag",
            "Messages between the committed offset and the partition's end.",
            ["partition"],
            registry=r,
        )
        self.windows_held = Gauge(p + "windows_held", "Keys with a window in memory.", registry=r)

    def _declare_rebuilds(self, r: CollectorRegistry, p: str) -> None:
        self.restored = Counter(
            p + "restored_readings_total", "Readings replayed from the log to rebuild windows.", registry=r
        )
        self.restore_seconds = Histogram(
            p + "restore_seconds",
            "Time from a partition's assignment to the end of its rebuild.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=r,
        )
        self.restore_incomplete = Counter(
            p + "restore_incomplete_total", "Partitions whose rebuild reached past what the log still has.", registry=r
        )
        self.lost = Counter(
            p + "deleted_unread_total",
            "Offsets of the input that retention had deleted before a worker of this group came to them.",
            registry=r,
        )
        self.places_recovered = Counter(
            p + "offsets_recovered_total",
            "Partitions whose committed offset was gone and whose place was found again in the outputs.",
            registry=r,
        )
        self.recreated = Counter(
            p + "topics_recreated_total",
            "Times a topic was found to have been deleted and created again, by its role.",
            ["role"],
            registry=r,
        )


def show(gauge: Gauge, values: Mapping[Any, float]) -> None:
    """Have a gauge with one label show these values by label, and no others."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)


class DriftMetrics:
    """The metrics of `hazardstream drift --watch`."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        p = _PREFIX
        self.checks = Counter(p + "drift_checks_total", "Times that all sites were looked at.", registry=r)
        self.failed = Counter(
            p + "drift_checks_failed_total", "Times that a dependency did not answer instead.", registry=r
        )
        self.active = Gauge(
            p + "drift_active",
            "1 for what has drifted, is missing, unknown or worse, by site, kind and subject.",
            ["site", "kind", "subject"],
            registry=r,
        )
        self.distance = Gauge(
            p + "drift_distance",
            "Kolmogorov-Smirnov distance of the last day from the site's baseline, by column.",
            ["site", "column"],
            registry=r,
        )
        self.missing = Gauge(
            p + "missing_share", "Part of the last hour's readings without a value.", ["site", "sensor"], registry=r
        )
        self.until = Gauge(
            p + "drift_seen_until_seconds", "Event time up to which a site was counted.", ["site"], registry=r
        )
        self.baseline_days = Gauge(
            p + "drift_baseline_days", "Days of which a site's baseline is made so far.", ["site"], registry=r
        )
        self.events = Counter(
            p + "drift_events_total", "Transitions published, by kind and state.", ["kind", "state"], registry=r
        )
        self.performance = Gauge(
            p + "model_performance", "Precision, recall and lead time by confirmed labels.", ["figure"], registry=r
        )
