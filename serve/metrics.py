"""The metrics of `hazardstream serve`."""

from prometheus_client import Counter, Gauge, Histogram

from worker.observe.metrics import WatchMetrics
from worker.observe.registry import process_registry

_PREFIX = "hazardstream_serve_"


class ServeMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        registry = self.registry = process_registry()
        self.requests = Counter(
            _PREFIX + "requests_total", "Requests answered, by path and status.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            _PREFIX + "request_duration_seconds",
            "Time from the start of a request to the end of its response, by path.",
            ["path"],
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=registry,
        )
        self.rows = Counter(_PREFIX + "rows_scored_total", "Rows of answered requests.", registry=registry)
        self.waiting = Gauge(_PREFIX + "requests_waiting", "Requests that wait to be scored.", registry=registry)
        self.log_lost = Counter(
            _PREFIX + "request_log_lost_total",
            "Requests that could not be written to the request log.",
            registry=registry,
        )
        self.model_info = Gauge(
            _PREFIX + "model_info", "1 for the model that scores.", ["name", "version"], registry=registry
        )
        self.watch = WatchMetrics(registry, _PREFIX + "model_")
