"""The metrics of a worker, each with its meaning. Updated once per batch, never per reading.

Names follow https://prometheus.io/docs/practices/naming/: counters end in `_total`, units are seconds and ratios.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from worker.observe.column_histogram import ColumnHistogram
from worker.observe.registry import process_registry

_PREFIX: Final = "hazardstream_"
_DIFFERENCE_BOUNDS: Final = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])


class WatchMetrics:
    """The metrics of a watched model alias."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.swaps = Counter(
            prefix + "swaps_total", "Times the model was replaced while the worker ran.", registry=registry
        )
        self.refused = Counter(
            prefix + "refused_total",
            "Models behind the alias that were rejected, by reason; /model says why.",
            ["reason"],
            registry=registry,
        )
        self.stale = Gauge(
            prefix + "stale",
            "1 while the model behind the alias is rejected and the last good model scores instead.",
            registry=registry,
        )
        self.source_down = Gauge(
            prefix + "source_down",
            "1 while the alias cannot be looked up; /model names the service that does not answer.",
            registry=registry,
        )


class ShadowMetrics:
    """The metrics of a challenger, which scores in the shadow of the champion."""

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
            "Committed readings that the challenger scored as well.",
            registry=registry,
        )
        self.missed = Counter(
            prefix + "shadow_missed_total",
            "Readings that the challenger did not score, because it was too slow or failed.",
            registry=registry,
        )
        self.agreed = Counter(
            prefix + "shadow_agreed_total",
            "Readings on which champion and challenger are on the same side of their setpoints.",
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
            "Alarms on readings that both models scored: of the champion, and those the challenger would have raised.",
            ["model"],
            registry=registry,
        )


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self._declare_worker()
        self._declare_readings()
        self._declare_batches()
        self._declare_models()
        self._declare_recoveries()
        self._declare_partitions()
        self._declare_rebuilds()

    def _declare_worker(self) -> None:
        self.worker_info = Gauge(
            _PREFIX + "worker_info",
            "1, with what this worker runs; join it to other metrics for these labels.",
            ["pipeline", "worker", "guarantee"],
            registry=self.registry,
        )
        self.ready = Gauge(
            _PREFIX + "ready", "1 while readings are scored; /ready says why not.", registry=self.registry
        )
        self.last_commit = Gauge(
            _PREFIX + "last_commit_timestamp_seconds",
            "When this process committed a batch last, since 1970; 0: not yet.",
            registry=self.registry,
        )
        self.dependency_up = Gauge(
            _PREFIX + "dependency_up",
            "0 while the worker waits for the dependency, 1 otherwise.",
            ["dependency"],
            registry=self.registry,
        )

    def _declare_readings(self) -> None:
        self.consumed = Counter(
            _PREFIX + "consumed_total", "Messages taken from the input topic.", registry=self.registry
        )
        self.scored = Counter(_PREFIX + "scored_total", "Readings scored and committed.", registry=self.registry)
        self.deduplicated = Counter(
            _PREFIX + "deduplicated_total",
            "Readings dropped because a recent one has the same key, time and values.",
            registry=self.registry,
        )
        self.dead_letters = Counter(
            _PREFIX + "dead_letters_total",
            "Records sent to the dead-letter topic, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.masked = Counter(
            _PREFIX + "masked_values_total",
            "Sensor values treated as missing because they are out of range, by sensor.",
            ["sensor"],
            registry=self.registry,
        )
        self.transitions = Counter(
            _PREFIX + "alarm_transitions_total",
            "Alarm transitions published, by rule; `model` is the model's own alarm.",
            ["state", "priority", "rule"],
            registry=self.registry,
        )
        self.alarms_active = Gauge(
            _PREFIX + "alarms_active", "Active alarms, by priority.", ["priority"], registry=self.registry
        )
        self.not_assessable = Counter(
            _PREFIX + "not_assessable_total",
            "Readings that the model scored and could not judge, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.sketched = Counter(
            _PREFIX + "sketched_readings_total",
            "Readings counted in the sketches for drift monitoring.",
            registry=self.registry,
        )

    def _declare_batches(self) -> None:
        self.batch_readings = Histogram(
            _PREFIX + "batch_messages",
            "Messages in a batch.",
            buckets=(1, 10, 50, 100, 500, 1000, 2000, 4000, 8000),
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            _PREFIX + "stage_duration_seconds",
            "Duration of each stage of a batch.",
            ["stage"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=self.registry,
        )
        self.latency_event = ColumnHistogram(
            self.registry,
            _PREFIX + "latency_from_event_seconds",
            "Time from a reading's event time to the commit of its score.",
        )
        self.latency_broker = ColumnHistogram(
            self.registry,
            _PREFIX + "latency_from_broker_seconds",
            "Time from a reading's Kafka timestamp to the commit of its score.",
        )

    def _declare_models(self) -> None:
        self.model_info = Gauge(
            _PREFIX + "model_info", "1 for the model that scores.", ["name", "version"], registry=self.registry
        )
        self.model_failed = Counter(
            _PREFIX + "model_failed_total",
            "Times a model failed while it scored and the last good one replaced it; /ready says why.",
            registry=self.registry,
        )
        self.champion_watch = WatchMetrics(self.registry, _PREFIX + "model_")
        self.challenger_watch = WatchMetrics(self.registry, _PREFIX + "challenger_")
        self.shadow = ShadowMetrics(self.registry, _PREFIX)

    def _declare_recoveries(self) -> None:
        self.aborts = Counter(
            _PREFIX + "transactions_aborted_total", "Transactions aborted and retried.", registry=self.registry
        )
        self.producer_renewals = Counter(
            _PREFIX + "producer_renewals_total",
            "Times the producer was replaced because an unanswered request may still reach the broker.",
            registry=self.registry,
        )
        self.restarts = Counter(
            _PREFIX + "restarts_total",
            "Times the worker restarted within its process, because a commit was uncertain or it was fenced.",
            registry=self.registry,
        )
        self.first_commit = Gauge(
            _PREFIX + "start_to_first_commit_seconds",
            "Time from the start of the process to its first committed batch; 0 before that.",
            registry=self.registry,
        )
        self.stuck = Counter(
            _PREFIX + "loop_stuck_total",
            "Times an iteration of the loop took too long; the log has the stack traces.",
            registry=self.registry,
        )
        self.waits = Counter(
            _PREFIX + "dependency_waits_total",
            "Times the worker had to wait for a dependency.",
            ["dependency"],
            registry=self.registry,
        )

    def _declare_partitions(self) -> None:
        self.partitions = Gauge(
            _PREFIX + "partitions",
            "Partitions assigned to this worker, by state; a partition that is restoring also counts as ready.",
            ["state"],
            registry=self.registry,
        )
        self.unreadable = Gauge(
            _PREFIX + "partitions_unreadable",
            "Partitions that cannot continue because the client cannot read a batch; /ready says how to skip it.",
            registry=self.registry,
        )
        self.lag = Gauge(
            _PREFIX + "consumer_lag_messages",
            "Messages between the committed offset and the partition's end.",
            ["partition"],
            registry=self.registry,
        )
        self.windows_held = Gauge(_PREFIX + "windows_held", "Keys with a window in memory.", registry=self.registry)

    def _declare_rebuilds(self) -> None:
        self.restored = Counter(
            _PREFIX + "restored_readings_total",
            "Readings replayed from the log to rebuild windows.",
            registry=self.registry,
        )
        self.restore_seconds = Histogram(
            _PREFIX + "restore_duration_seconds",
            "Time from a partition's assignment to the end of its window rebuild.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.restore_incomplete = Counter(
            _PREFIX + "restore_incomplete_total",
            "Window rebuilds that were incomplete because the log no longer reaches back far enough.",
            registry=self.registry,
        )
        self.lost = Counter(
            _PREFIX + "deleted_unread_total",
            "Input offsets that retention deleted before the group consumed them.",
            registry=self.registry,
        )
        self.places_recovered = Counter(
            _PREFIX + "offsets_recovered_total",
            "Partitions whose lost committed offset was recovered from the outputs.",
            registry=self.registry,
        )
        self.recreated = Counter(
            _PREFIX + "topics_recreated_total",
            "Times a topic was deleted and created again, by role.",
            ["role"],
            registry=self.registry,
        )


def show(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Set a gauge to these values by labels, then remove all others: a scrape meanwhile finds each value that stays."""
    (family,) = gauge.collect()
    former = {tuple(sample.labels.values()) for sample in family.samples}
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    for labels in former - values.keys():
        gauge.remove(*labels)
