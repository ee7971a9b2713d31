"""Put a worker together, run it until it is told to stop, and take it apart in order."""

import gc
import os
import signal
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import structlog
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from common.errors import (
    DeniedError,
    DependencyDownError,
    FencedError,
    NameTakenError,
    SupersededError,
    UncertainError,
    UserError,
)
from schemas.errors import UnreadableValueError
from schemas.load import load_schema
from schemas.registry import SchemaRegistry, registry_at, writer_schema_lookup
from worker.admission.admit import Demands, demands_of
from worker.admission.compatibility import alarm_policy
from worker.admission.in_use import give_up, show, show_swapped
from worker.admission.mlflow_source import MlflowSource
from worker.admission.source import mlflow_source, resolve_or_last_good
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings, ignored_service_links, unread_settings
from worker.consume.assignment import Assignment
from worker.consume.batch_loop import Loop
from worker.consume.broker_watch import BrokerWatch
from worker.consume.group_health import Succession
from worker.consume.group_member import group_consumer, join_first
from worker.consume.group_watch import GroupWatch
from worker.consume.unreadable import Unreadable, parse_places
from worker.encode.drift_sketch import Sketcher
from worker.encode.encoder import Outbox
from worker.encode.output_limits import OutputLimits
from worker.hot_swap.alias_watcher import ModelWatch
from worker.hot_swap.challenger import shadow_for, watch_challenger
from worker.hot_swap.swap import Swap
from worker.http.sidecar import sidecar
from worker.kafka.at_least_once import AtLeastOncePublisher
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.permissions import PERMISSIONS, worker_permissions
from worker.kafka.publisher import Publisher, TransactionalPublisher
from worker.kafka.topics import unfit_topics, warnings
from worker.model.package import ModelFailedError, ModelPackage
from worker.observe.dependency_wait import StoppedError, note_down, wait_for
from worker.observe.metrics import Metrics
from worker.observe.stage_timer import stage_timer
from worker.observe.watchdog import start_watchdog
from worker.observe.worker_status import Status
from worker.score.scorer import Scorer, scorer_of

_LOG = structlog.get_logger(__name__)


class _Where(TypedDict):
    """Where models are looked for, and what they have to meet."""

    cache_directory: Path
    tracking_uri: str | None
    demands: Demands


REGISTRY_PATIENCE_S = 1.0  # longest that a batch waits for a schema: then its partition waits, and others go on
SHUTDOWN_WITHIN_S = 30.0
_REFUSED_AGAIN_S = 5.0
_PROCESS = uuid.uuid4()  # the same after a restart in place, which has to end what the one before left open


def run_worker(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT.

    Raises:
        UserError: something only the user can put right.
        SupersededError: another worker with the same instance id has taken over.
    """
    pipeline = load_pipeline(settings.pipeline)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: _begin_stop(stop))
    demands = demands_of(settings, pipeline)
    status = Status(
        Metrics(), pipeline.name, settings.instance, settings.guarantee, stuck_after_s=settings.stuck_after_ms / 1000
    )
    start_watchdog(status)
    server = sidecar(status, settings.http_host, settings.http_port, settings.http_allowed_hosts)
    port = server.start()
    # Port 0 became one of the system's choice, and the instance may be named after it.
    settings = settings.model_copy(update={"http_port": port})
    status.instance = settings.instance
    for words in unread_settings():
        _LOG.warning("setting not read", reason=words)
    if links := ignored_service_links():
        _LOG.debug("variables of Kubernetes services are not settings", names=links)
    _LOG.info("sidecar listening", address=f"http://{settings.http_host}:{port}")
    # One for as long as the process lives: librdkafka may crash where one is given up while it waits for an answer.
    admin = admin_client(client_config(settings.bootstrap_servers))
    try:
        while not stop.is_set():
            try:
                _run(settings, pipeline, demands, admin, status, stop)
            except UncertainError as uncertain:
                _await_restart(uncertain, settings, pipeline, status, stop)
            except ModelFailedError as failed:
                give_up(failed, demands, status)
    except StoppedError:
        _LOG.info("stopped while waiting", reasons=status.reasons_not_ready())
    finally:
        status.phase = "stopping"
        server.stop()


def _await_restart(
    uncertain: UncertainError,
    settings: Settings,
    pipeline: Pipeline,
    status: Status,
    stop: threading.Event,
) -> None:
    """Wait until it is known that no other worker has taken this one's place, so that it may restart.

    Raises:
        SupersededError: another one has.
    """
    _LOG.warning("restarting in place", reason=str(uncertain))
    status.phase, status.partitions = "starting", {}
    status.metrics.restarts.inc()
    if isinstance(uncertain, DeniedError | NameTakenError):
        note_down(status, DependencyDownError(uncertain.dependency, str(uncertain)))
        stop.wait(_REFUSED_AGAIN_S)
    if isinstance(uncertain, FencedError) and settings.instance_id:
        member = _group_id(settings, pipeline), settings.instance_id
        session_s = settings.session_timeout_ms / 1000
        succession = Succession(client_config(settings.bootstrap_servers), *member, session_s)
        if wait_for(succession.superseded, status, stop):
            raise SupersededError(str(uncertain)) from uncertain


def _group_id(settings: Settings, pipeline: Pipeline) -> str:
    return settings.group_id or f"hazardstream-{pipeline.name}"


def _begin_stop(stop: threading.Event) -> None:
    stop.set()
    # The transaction in hand is finished or aborted by then; what is not committed is processed by a successor.
    deadline = threading.Timer(SHUTDOWN_WITHIN_S, os._exit, (1,))
    deadline.daemon = True
    deadline.start()


def _fit_topics(admin: AdminClient, config: dict[str, Any], pipeline: Pipeline, group_id: str) -> None:
    if denied := worker_permissions(admin, config, pipeline, group_id):
        raise DependencyDownError(PERMISSIONS, "; ".join(denied))
    if faults := unfit_topics(admin, pipeline):
        raise DependencyDownError("topics", "; ".join(faults))
    for words in warnings(admin, pipeline):
        _LOG.warning("a topic's settings weaken what is guaranteed", reason=words)


def _run(
    settings: Settings,
    pipeline: Pipeline,
    demands: Demands,
    admin: AdminClient,
    status: Status,
    stop: threading.Event,
) -> None:
    config = client_config(settings.bootstrap_servers)
    group_id = _group_id(settings, pipeline)
    wait_for(lambda: _fit_topics(admin, config, pipeline, group_id), status, stop)
    registry = registry_at(settings.registry_url, patience_s=REGISTRY_PATIENCE_S)
    prefixes = wait_for(lambda: _prefixes(registry, pipeline), status, stop)
    uri = settings.model_uri(pipeline.model)
    where: _Where = {
        "cache_directory": settings.cache_directory,
        "tracking_uri": settings.tracking_uri,
        "demands": demands,
    }
    package = wait_for(lambda: resolve_or_last_good(uri, **where), status, stop)
    show(status, pipeline, uri, package)

    broker_watch = BrokerWatch()
    consumer = group_consumer(config, settings, group_id)
    consumer.reports.listen(errors=broker_watch.note)
    writer_schema_of = writer_schema_lookup(registry)
    metrics, policy = status.metrics, alarm_policy(package, pipeline)
    scorer = scorer_of(pipeline, package, policy, writer_schema_of, stage_timer(metrics))
    limits = wait_for(lambda: OutputLimits(admin, pipeline), status, stop)
    fitting = config | {"batch.size": limits.batch_bytes(config.get("batch.size"))}
    # At least once, the newest outcome may have been written before others of its batch.
    margin = settings.batch_max_messages if settings.guarantee == "at_least_once" else 0
    assignment = Assignment(consumer, admin, config, pipeline, scorer, writer_schema_of, metrics, margin, status.turn)
    group_watch = GroupWatch(consumer, config, group_id, pipeline.input.topic)
    publisher = _publisher(settings, fitting, consumer, group_id, status)
    try:
        join_first(settings, consumer, assignment, group_watch, stop)
        wait_for(publisher.open, status, stop)
    except UncertainError:
        publisher.close()
        consumer.close()
        raise
    outbox = Outbox(pipeline, prefixes, limits.of[pipeline.outputs.dead_letters.topic])
    skipped = parse_places(settings.skip_unreadable)
    shadow = shadow_for(settings, pipeline, prefixes.get("shadow"), status)
    loop = Loop(
        settings=settings,
        topic=pipeline.input.topic,
        consumer=consumer,
        broker_watch=broker_watch,
        group_watch=group_watch,
        assignment=assignment,
        scorer=scorer,
        outbox=outbox,
        sketcher=Sketcher(pipeline, monitor, prefixes.get("sketches")) if (monitor := pipeline.monitor) else None,
        shadow=shadow,
        publisher=publisher,
        limits=limits,
        unreadable=Unreadable(config, pipeline, skipped, assignment, publisher, metrics, status.turn),
        metrics=metrics,
        status=status,
    )
    left = threading.Event()
    source = mlflow_source(uri, **where)
    if source is not None and source.moves and settings.model_watch_ms:
        swap = Swap(pipeline, status, partial(_next_scorer, settings, pipeline), config, admin, left)
        _watch_model(settings, source, package, swap, partial(show_swapped, status, pipeline, uri), status, left)
    if shadow is not None:
        watch_challenger(shadow, settings, pipeline, partial(mlflow_source, **where), status, left)
    _LOG.info("joining the group", group=group_id, topic=pipeline.input.topic, guarantee=settings.guarantee)
    gc.freeze()  # or each of the collector's rounds would look through all that was imported
    try:
        loop.run(stop)
    finally:
        left.set()
        publisher.close()
        consumer.close()
        _LOG.info("left the group")


def _watch_model(
    settings: Settings,
    source: MlflowSource,
    package: ModelPackage,
    swap: Swap,
    show: Callable[[ModelPackage], None],
    status: Status,
    left: threading.Event,
) -> None:
    """Beside the loop, with nothing that is the loop's own."""
    tell = partial(setattr, status, "model_watch")
    every_s, metrics = settings.model_watch_ms / 1000, status.metrics.champion_watch
    ModelWatch(source, every_s, package.version, swap, show, metrics, tell, left).start()


def _next_scorer(settings: Settings, pipeline: Pipeline, package: ModelPackage) -> Scorer:
    """A scorer for another thread than the loop's: it shares nothing with it, and its time is not measured."""
    registry = registry_at(settings.registry_url)
    policy, lookup = alarm_policy(package, pipeline), writer_schema_lookup(registry)
    return scorer_of(pipeline, package, policy, lookup)


def _prefixes(registry: SchemaRegistry | None, pipeline: Pipeline) -> dict[str, bytes]:
    """Confluent prefixes of the outputs where there is a registry; none means single-object encoding."""
    if registry is None:
        return {}
    written = ("predictions", "alarms", "alarm_state", *(["sketches", "shadow"] if pipeline.monitor else []))
    try:
        return {role: registry.prefix(pipeline.topics[role], load_schema(pipeline.schemas[role])) for role in written}
    except UnreadableValueError as error:
        raise UserError(f"{error}; see the compatibility rule of the subject in the registry") from error


def _publisher(
    settings: Settings, config: dict[str, Any], consumer: Consumer, group_id: str, status: Status
) -> Publisher:
    if settings.guarantee == "at_least_once":
        return AtLeastOncePublisher(config, consumer, settings.transaction_timeout_ms)
    # A named worker's successor ends what it left open. Of two without a name, none must fence the other.
    transactional_id = f"{group_id}-{settings.instance_id or _PROCESS}"

    def waiting(reason: str) -> None:
        status.turn()  # waiting for a broker that is away is not being stuck
        note_down(status, DependencyDownError("broker", reason))

    timeout_ms, renewed = settings.transaction_timeout_ms, status.metrics.producer_renewals.inc
    return TransactionalPublisher(config, consumer, transactional_id, timeout_ms, waiting, renewed)
