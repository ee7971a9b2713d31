"""All metrics, each with its meaning. Updated once a batch, never per reading."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.features import Float

_LATENCY_BOUNDS_S: Final = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600])


class ColumnHistogram(Collector):
    """A Prometheus histogram that takes a column of values at once."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._counts = np.zeros(len(_LATENCY_BOUNDS_S) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Float) -> None:
        """Count each of the values, shape [n]."""
        at = np.searchsorted(_LATENCY_BOUNDS_S, values)
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[Metric]:
        """Give the histogram as Prometheus' client wants it."""
        names = [*(str(b) for b in _LATENCY_BOUNDS_S.tolist()), "+Inf"]
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric([], list(zip(names, np.cumsum(self._counts).tolist(), strict=True)), self._sum)
        yield family


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        p = "hazardstream_"
        self.consumed = Counter(p + "consumed_total", "Messages taken from the input topic.", registry=r)
        self.scored = Counter(p + "scored_total", "Readings scored and committed.", registry=r)
        self.deduplicated = Counter(
            p + "deduplicated_total", "Readings dropped: same key and event time as the newest.", registry=r
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
        self.lag = Gauge(
            p + "consumer_lag",
            "Messages between the committed offset and the partition's end.",
            ["partition"],
            registry=r,
        )
        self.windows_held = Gauge(p + "windows_held", "Keys with a window in memory.", registry=r)
        self.model_info = Gauge(p + "model_info", "1 for the model that scores.", ["name", "version"], registry=r)
        self.model_swaps = Counter(p + "model_swaps_total", "Times another model took over in mid-run.", registry=r)
        self.model_refused = Counter(
            p + "model_refused_total",
            "Models that the alias stood for and that were refused, by reason; /model says why.",
            ["reason"],
            registry=r,
        )
        self.model_stale = Gauge(
            p + "model_stale",
            "1 while the alias stands for something that was refused, and the last good model goes on.",
            registry=r,
        )
        self.model_source_down = Gauge(
            p + "model_source_down",
            "1 while the alias cannot be followed; /model says what does not answer.",
            registry=r,
        )
        self.aborts = Counter(p + "transactions_aborted_total", "Transactions aborted and retried.", registry=r)
        self.begun_anew = Counter(
            p + "begun_anew_total",
            "Times the worker began anew in place, not knowing how a transaction had ended or having lost its group.",
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
        self.partitions = Gauge(
            p + "partitions",
            "Partitions assigned to this worker, by state (restoring ones are ready, too).",
            ["state"],
            registry=r,
        )
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
        self.waits = Counter(
            p + "dependency_waits_total", "Times the worker had to wait for a dependency.", ["dependency"], registry=r
        )
