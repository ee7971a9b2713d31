"""Builds the parts of a sink and runs it."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import structlog
from prometheus_client import start_http_server

from common.environment import variable
from common.errors import DependencyDownError, UserError
from schemas.registry import SERVICE_TIMEOUT_S, registry_at, writer_schema_lookup
from sink.destination import destination
from sink.metrics import SinkMetrics
from sink.rows import Table
from sink.run import Limits, Sink, sink_consumer
from sink.tables import tables_of, topics_of
from worker.config.pipeline import load_pipeline
from worker.config.settings import Settings
from worker.kafka.reachable import reachable_config

T = TypeVar("T")
_LOG = structlog.get_logger(__name__)
_REQUEST_LOG = "HAZARDSTREAM_REQUEST_LOG"
_RETRY_S = 2.0
# Files should be large, transactions soon visible.
_DATABASE, _PARQUET = Limits(1.0, 20_000, 64), Limits(60.0, 200_000, 256)


class Given(NamedTuple):
    """What the command line says; see `sink.cli.sink`."""

    to: str | None = None
    roles: tuple[str, ...] = ()
    request_log: str | None = None
    every_s: float | None = None
    once: bool = False
    group: str | None = None
    instance_id: str | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


def run_sink(settings: Settings, given: Given, stop: threading.Event) -> bool:
    """Run a sink until `stop` is set or, with `once`, until all records are stored that are there now.

    Returns:
        Whether that is reached; always true without `once`.

    Raises:
        UserError: the user has to correct something.
        DependencyDownError: with `once`, Kafka does not answer at the start.
    """
    pipeline = load_pipeline(settings.pipeline)
    topics = topics_of(pipeline, given.roles, given.request_log or variable(_REQUEST_LOG))
    place = destination(given.to, pipeline.name)
    registry = registry_at(settings.registry_url, timeout_s=SERVICE_TIMEOUT_S)
    metrics, store = SinkMetrics(), place.store()
    if given.metrics_port is not None:
        _serve_metrics(metrics, given.metrics_host, given.metrics_port)

    def find_broker() -> dict[str, Any]:
        return reachable_config(settings.bootstrap_servers)

    config = find_broker() if given.once else _patiently(find_broker, metrics, stop)
    if config is None:
        return True
    group = given.group or f"hazardstream-sink-{pipeline.name}-{place.default_group}"
    consumer = sink_consumer(config, group, given.instance_id)

    def prepare() -> list[Table]:
        store.prepare(topics)
        lookup = writer_schema_lookup(registry, pipeline.known_schemas)
        return tables_of(pipeline, topics, lookup, store.columns)

    try:
        tables = _patiently(prepare, metrics, stop)
        if tables is None:
            return not given.once
        usual = _PARQUET if place.database is None else _DATABASE
        limits = usual if given.every_s is None else usual._replace(seconds=given.every_s)
        _LOG.info("storing", to=str(place), topics=topics, group=group)
        sink = Sink(config, consumer, tables, store, limits, metrics)
        if given.once:
            return sink.run_once(stop)
        sink.run(stop)
        return True
    finally:
        consumer.close()
        store.close()


def _patiently(call: Callable[[], T], metrics: SinkMetrics, stop: threading.Event) -> T | None:
    """Call until no dependency is down; None if `stop` was set first."""
    while not stop.is_set():
        try:
            return call()
        except DependencyDownError as down:
            metrics.waits.labels(down.dependency).inc()
            _LOG.warning("waiting", dependency=down.dependency, reason=down.reason)
            stop.wait(_RETRY_S)
    return None


def _serve_metrics(metrics: SinkMetrics, host: str, port: int) -> None:
    try:
        server, _ = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --metrics-port") from error
    _LOG.info("metrics", address=f"http://{host}:{server.server_port}/metrics")
