"""The one list of all metrics, each with its meaning. Updated once per batch, never per reading.

Names follow https://prometheus.io/docs/practices/naming/: counters end in `_total`, units are seconds and ratios.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from worker.observe.column_histogram import ColumnHistogram

_PREFIX: Final = "hazardstream_"
_DIFFERENCE_BOUNDS: Final = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])


class WatchMetrics:
    """How a model's alias is followed."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.swaps = Counter(
            prefix + "swaps_total", "Times another model took over while the worker ran.", registry=registry
        )
        self.refused = Counter(
            prefix + "refused_total",
            "Models behind the alias that were refused, by reason; /model says why.",
            ["reason"],
            registry=registry,
        )
        self.stale = Gauge(
            prefix + "stale",
            "1 while the model behind the alias is refused; the last good champion goes on scoring.",
            registry=registry,
        )
        self.source_down = Gauge(
            prefix + "source_down",
            "1 while the alias cannot be looked up; /model says what does not answer.",
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
            "Times a challenger failed and was dropped, or was too slow and was paused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.scored = Counter(
            prefix + "shadow_scored_total",
            "Committed readings that the challenger scored, too.",
            registry=registry,
        )
        self.missed = Counter(
            prefix + "shadow_missed_total",
            "Readings that the challenger did not score, because it was too slow or failed.",
            registry=registry,
        )
        self.agreed = Counter(
            prefix + "shadow_agreed_total",
            "Readings for which champion and challenger agree, each by its own setpoint.",
            registry=registry,
        )
        self.difference = ColumnHistogram(
            registry,
            prefix + "shadow_difference",
            "Absolute difference between the probabilities of champion and challenger.",
            _DIFFERENCE_BOUNDS,
        )
        self.alarms = Counter(
            prefix + "shadow_alarms_total",
            "Alarms on readings that both scored: those of the champion, and those the challenger would raise.",
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
            p + "deduplicated_total",
            "Readings dropped because a recent one has the same key, time and values.",
            registry=r,
        )
        self.dead_letters = Counter(
            p + "dead_letters_total", "Records sent to the dead-letter topic, by reason.", ["reason"], registry=r
        )
        self.masked = Counter(
            p + "masked_values_total",
            "Sensor values treated as missing because they are out of range, by sensor.",
            ["sensor"],
            registry=r,
        )
        self.transitions = Counter(
            p + "alarm_transitions_total", "Alarm transitions published.", ["state", "priority"], registry=r
        )
        self.alarms_active = Gauge(
            p + "alarms_active", "Keys with an active alarm, by priority.", ["priority"], registry=r
        )
        self.sketched = Counter(
            p + "sketched_readings_total", "Readings counted in the sketches for drift monitoring.", registry=r
        )

    def _declare_batches(self, r: CollectorRegistry, p: str) -> None:
        self.batch_readings = Histogram(
            p + "batch_messages",
            "Messages in a batch.",
            buckets=(1, 10, 50, 100, 500, 1000, 2000, 4000, 8000),
            registry=r,
        )
        self.stage_seconds = Histogram(
            p + "stage_duration_seconds",
            "Duration of each stage of a batch.",
            ["stage"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=r,
        )
        self.latency_event = ColumnHistogram(
            r, p + "latency_from_event_seconds", "Time from a reading's event time to the commit of its score."
        )
        self.latency_broker = ColumnHistogram(
            r, p + "latency_from_broker_seconds", "Time from a reading's Kafka timestamp to the commit of its score."
        )

    def _declare_models(self, r: CollectorRegistry, p: str) -> None:
        self.model_info = Gauge(p + "model_info", "1 for the model that scores.", ["name", "version"], registry=r)
        self.model_failed = Counter(
            p + "model_failed_total",
            "Times a model failed while it scored, and the last good one replaced it; /ready says why.",
            registry=r,
        )
        self.champion_watch = WatchMetrics(r, p + "model_")
        self.challenger_watch = WatchMetrics(r, p + "challenger_")
        self.shadow = ShadowMetrics(r, p)

    def _declare_recoveries(self, r: CollectorRegistry, p: str) -> None:
        self.aborts = Counter(p + "transactions_aborted_total", "Transactions aborted and retried.", registry=r)
        self.producer_renewals = Counter(
            p + "producer_renewals_total",
            "Times the producer was replaced because an unanswered request may still reach the broker.",
            registry=r,
        )
        self.restarts = Counter(
            p + "restarts_total",
            "Times the worker restarted in place, because the end of a transaction was unknown or the group fenced it.",
            registry=r,
        )
        self.first_commit = Gauge(
            p + "start_to_first_commit_seconds",
            "Time from the start of the process to its first committed batch; 0 before that.",
            registry=r,
        )
        self.stuck = Counter(
            p + "loop_stuck_total", "Times an iteration of the loop took too long; the log says where.", registry=r
        )
        self.waits = Counter(
            p + "dependency_waits_total", "Times the worker had to wait for a dependency.", ["dependency"], registry=r
        )

    def _declare_partitions(self, r: CollectorRegistry, p: str) -> None:
        self.partitions = Gauge(
            p + "partitions",
            "Partitions assigned to this worker, by state (restoring ones also count as ready).",
            ["state"],
            registry=r,
        )
        self.unreadable = Gauge(
            p + "partitions_unreadable",
            "Partitions stopped at a batch that the client cannot read; /ready says how to skip it.",
            registry=r,
        )
        self.lag = Gauge(
            p + "consumer_lag_messages",
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
            p + "restore_duration_seconds",
            "Time from a partition's assignment to the end of its window rebuild.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=r,
        )
        self.restore_incomplete = Counter(
            p + "restore_incomplete_total",
            "Window rebuilds that needed more of the log than it still holds.",
            registry=r,
        )
        self.lost = Counter(
            p + "deleted_unread_total",
            "Input offsets that retention deleted before the group consumed them.",
            registry=r,
        )
        self.places_recovered = Counter(
            p + "offsets_recovered_total",
            "Partitions whose lost committed offset was recovered from the outputs.",
            registry=r,
        )
        self.recreated = Counter(
            p + "topics_recreated_total",
            "Times a topic was deleted and created again, by its role.",
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
        self.checks = Counter(p + "drift_checks_total", "Times all sites were checked.", registry=r)
        self.failed = Counter(
            p + "drift_checks_failed_total", "Checks that failed because a dependency did not answer.", registry=r
        )
        self.active = Gauge(
            p + "drift_active",
            "1 for each active finding, by site, kind and subject.",
            ["site", "kind", "subject"],
            registry=r,
        )
        self.distance = Gauge(
            p + "drift_distance",
            "Kolmogorov-Smirnov distance between the last day and the site's baseline, by column.",
            ["site", "column"],
            registry=r,
        )
        self.missing = Gauge(
            p + "drift_missing_ratio",
            "Readings of the last hour without a value, 0 to 1.",
            ["site", "sensor"],
            registry=r,
        )
        self.until = Gauge(
            p + "drift_seen_until_timestamp_seconds", "Event time up to which a site was counted.", ["site"], registry=r
        )
        self.baseline = Gauge(p + "drift_baseline_seconds", "Length of a site's baseline so far.", ["site"], registry=r)
        self.events = Counter(
            p + "drift_events_total", "Transitions published, by kind and state.", ["kind", "state"], registry=r
        )
        self.precision = Gauge(
            p + "model_precision_ratio", "Part of the alarms that confirmed labels support, 0 to 1.", registry=r
        )
        self.recall = Gauge(
            p + "model_recall_ratio", "Part of the confirmed events that had an alarm in time, 0 to 1.", registry=r
        )
        self.lead = Gauge(
            p + "model_lead_seconds", "Median time from an alarm to the point of no return of its event.", registry=r
        )
