"""The metrics of `hazardstream sink`."""

from prometheus_client import Counter, Gauge, Histogram

from worker.observe.registry import process_registry

_PREFIX = "hazardstream_sink_"


class SinkMetrics:
    """Metrics, and the registry that holds them."""

    def __init__(self) -> None:
        r = self.registry = process_registry()
        self.rows = Counter(_PREFIX + "rows_total", "Rows stored, by table.", ["table"], registry=r)
        self.unreadable = Counter(
            _PREFIX + "unreadable_total", "Records stored among the unreadable ones, by table.", ["table"], registry=r
        )
        self.lost = Counter(
            _PREFIX + "lost_total",
            "Times that records were gone before they were stored, by table and reason.",
            ["table", "reason"],
            registry=r,
        )
        self.waits = Counter(
            _PREFIX + "waits_total", "Attempts that found a dependency down, by dependency.", ["dependency"], registry=r
        )
        self.waiting = Gauge(_PREFIX + "waiting_partitions", "Assigned partitions that are not read now.", registry=r)
        self.partitions = Gauge(_PREFIX + "assigned_partitions", "Partitions assigned to this sink.", registry=r)
        self.stored_at = Gauge(
            _PREFIX + "last_stored_timestamp_seconds", "When a batch was stored last; 0: never.", registry=r
        )
        self.seconds = Histogram(
            _PREFIX + "batch_duration_seconds",
            "Time to decode and store a batch.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=r,
        )
