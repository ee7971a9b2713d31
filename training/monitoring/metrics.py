"""The metrics of the drift monitor."""

from prometheus_client import Counter, Gauge

from worker.observe.registry import process_registry


class DriftMetrics:
    """The metrics of `hazardstream drift --watch`."""

    def __init__(self) -> None:
        registry = self.registry = process_registry()
        self.checks = Counter("hazardstream_drift_checks_total", "Times all sites were checked.", registry=registry)
        self.failed = Counter(
            "hazardstream_drift_checks_failed_total",
            "Checks that failed because a dependency did not answer.",
            registry=registry,
        )
        self.active = Gauge(
            "hazardstream_drift_active",
            "1 for each active finding, by site, kind and subject.",
            ["site", "kind", "subject"],
            registry=registry,
        )
        self.distance = Gauge(
            "hazardstream_drift_distance",
            "Kolmogorov-Smirnov distance between the last day and the site's baseline, by column.",
            ["site", "column"],
            registry=registry,
        )
        self.missing = Gauge(
            "hazardstream_drift_missing_ratio",
            "Readings of the last hour without a value, 0 to 1.",
            ["site", "sensor"],
            registry=registry,
        )
        self.until = Gauge(
            "hazardstream_drift_seen_until_timestamp_seconds",
            "Event time up to which a site was counted.",
            ["site"],
            registry=registry,
        )
        self.baseline = Gauge(
            "hazardstream_drift_baseline_seconds", "Length of a site's baseline.", ["site"], registry=registry
        )
        self.events = Counter(
            "hazardstream_drift_events_total",
            "Transitions published, by kind and state.",
            ["kind", "state"],
            registry=registry,
        )
        self.precision = Gauge(
            "hazardstream_model_precision_ratio",
            "Share of alarms that confirmed labels support, 0 to 1.",
            registry=registry,
        )
        self.recall = Gauge(
            "hazardstream_model_recall_ratio",
            "Share of confirmed events that had an alarm in time, 0 to 1.",
            registry=registry,
        )
        self.lead = Gauge(
            "hazardstream_model_lead_seconds",
            "Median time from an alarm to the point of no return of its event.",
            registry=registry,
        )
