"""Put together the parts of one run of a worker."""

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import structlog
from confluent_kafka.admin import AdminClient

from common.errors import DependencyDownError
from schemas.registry import SERVICE_TIMEOUT_S, SchemaRegistry, registry_at, writer_schema_lookup
from worker.admission.admit import Demands
from worker.admission.compatibility import alarm_policy
from worker.admission.in_use import show, show_swapped
from worker.admission.mlflow_source import MlflowSource
from worker.admission.source import mlflow_source, resolve_or_last_good
from worker.config.alarm_section import rules_in_force
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.consume.assignment import Assignment
from worker.consume.batch_loop import Loop
from worker.consume.broker_watch import BrokerWatch
from worker.consume.group_member import group_consumer, join_first
from worker.consume.group_watch import GroupWatch
from worker.consume.unreadable import Unreadable, parse_places
from worker.encode.drift_sketch import Sketcher
from worker.encode.encoder import Encoder
from worker.encode.output_limits import OutputLimits
from worker.encode.prefixes import output_prefixes
from worker.encode.shadow import Shadow
from worker.encode.side_output import SideOutput
from worker.encode.window_state import WindowStateOutput
from worker.hot_swap.alias_watcher import ModelWatch
from worker.hot_swap.challenger import shadow_for, watch_challenger
from worker.hot_swap.swap import Swap
from worker.kafka.at_least_once import AtLeastOncePublisher
from worker.kafka.client_config import ReportingConsumer, client_config
from worker.kafka.permissions import PERMISSIONS, worker_permissions
from worker.kafka.publisher import Publisher, TransactionalPublisher
from worker.kafka.topics import require_fit_topics, warnings
from worker.model.contract import Model
from worker.observe.dependency_wait import note_down, wait_for
from worker.observe.loop_questions import LoopQuestions
from worker.observe.stage_timer import stage_timer
from worker.observe.worker_status import Status
from worker.score.feature_plan import plan_for
from worker.score.scorer import Scorer, scorer_of

_LOG = structlog.get_logger(__name__)
REGISTRY_PATIENCE_S = 1.0  # longest that a batch waits for a schema; after it only the affected partition waits
# The same after a restart in place, so that the new run ends the transaction of the previous one.
_PROCESS = uuid.uuid4()


class _ModelSource(TypedDict):
    """Where models are looked for, and what they have to meet."""

    cache_directory: Path
    tracking_uri: str | None
    demands: Demands


@dataclass(frozen=True)
class Surroundings:
    """What a worker has for as long as its process lives.

    Attributes:
        stop: set when the worker has to stop.
    """

    settings: Settings
    pipeline: Pipeline
    demands: Demands
    admin: AdminClient
    status: Status
    questions: LoopQuestions
    stop: threading.Event

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.settings.group_of(self.pipeline.name)

    @property
    def models(self) -> _ModelSource:
        """Where models come from."""
        settings = self.settings
        return {
            "cache_directory": settings.cache_directory,
            "tracking_uri": settings.tracking_uri,
            "demands": self.demands,
        }


@dataclass(frozen=True)
class Worker:
    """The parts of one run: from a start, or a restart in place, to the end.

    Attributes:
        clients: closes the Kafka clients. The consumer leaves the group.
    """

    around: Surroundings
    config: dict[str, Any]
    model: Model
    loop: Loop
    shadow: Shadow | None
    clients: ExitStack

    def watch_models(self, left: threading.Event) -> None:
        """Watch the aliases of the model and of the challenger beside the loop, until `left` is set."""
        around = self.around
        settings, pipeline, status = around.settings, around.pipeline, around.status
        uri = settings.model_uri(pipeline.model)
        source = mlflow_source(uri, **around.models)
        if source is not None and source.moves and settings.model_watch_ms:
            new_scorer = partial(_next_scorer, settings, pipeline)
            swap = Swap(pipeline, around.questions, new_scorer, self.config, around.admin, left)
            self._watch(source, swap, uri, left)
        if self.shadow is not None:
            find = partial(mlflow_source, **around.models)
            watch_challenger(self.shadow, settings, pipeline, find, status, left)

    def _watch(self, source: MlflowSource, swap: Swap, uri: str, left: threading.Event) -> None:
        status, every_s = self.around.status, self.around.settings.model_watch_ms / 1000
        shown = partial(show_swapped, status, self.around.pipeline, uri)
        tell, metrics = partial(setattr, status, "model_watch"), status.metrics.champion_watch
        ModelWatch(source, every_s, self.model.version, swap, shown, metrics, tell, left).start()


def assemble(around: Surroundings) -> Worker:
    """Wait for everything that a worker needs, and put its parts together.

    Raises:
        UserError: the user has to correct something.
        UncertainError: restart in place.
        StoppedError: the worker was asked to stop while it waited.
    """
    settings, pipeline, status, stop = around.settings, around.pipeline, around.status, around.stop
    config = client_config(settings.bootstrap_servers)
    wait_for(lambda: _check_topics(around, config), status, stop)
    registry = registry_at(settings.registry_url, timeout_s=SERVICE_TIMEOUT_S, patience_s=REGISTRY_PATIENCE_S)
    prefixes = wait_for(lambda: output_prefixes(registry, pipeline), status, stop)
    uri = settings.model_uri(pipeline.model)
    model = wait_for(lambda: resolve_or_last_good(uri, **around.models), status, stop)
    show(status, pipeline, uri, model)
    reach_ms = plan_for(model, pipeline).rebuild_reach_ms(pipeline.input.max_future_ms)
    wait_for(lambda: require_fit_topics(around.admin, pipeline, reach_ms), status, stop)

    with ExitStack() as clients:
        loop, shadow = _loop(around, config, model, registry, prefixes, clients)
        return Worker(around, config, model, loop, shadow, clients.pop_all())


def _loop(
    around: Surroundings,
    config: dict[str, Any],
    model: Model,
    registry: SchemaRegistry | None,
    prefixes: Mapping[str, bytes],
    clients: ExitStack,
) -> tuple[Loop, Shadow | None]:
    """The loop, with clients that `clients` closes, and the challenger that scores beside it."""
    settings, pipeline, status, stop = around.settings, around.pipeline, around.status, around.stop
    metrics, broker_watch = status.metrics, BrokerWatch()
    consumer = group_consumer(config, settings, around.group_id)
    clients.callback(consumer.close)
    consumer.reports.listen(errors=broker_watch.note)
    lookup = writer_schema_lookup(registry, pipeline.known_schemas)
    scorer = scorer_of(
        pipeline, model, alarm_policy(model, pipeline), lookup, stage_timer(metrics), rules_in_force(pipeline)
    )
    limits = wait_for(lambda: OutputLimits(around.admin, pipeline), status, stop)
    # At least once, the newest outcome may have been written before others of its batch.
    margin = settings.batch_max_messages if settings.guarantee == "at_least_once" else 0
    assignment = Assignment(consumer, around.admin, config, pipeline, scorer, lookup, metrics, margin, status.turn)
    group_watch = GroupWatch(consumer, config, around.group_id, pipeline.input.topic)
    publisher = _publisher(around, config | {"batch.size": limits.batch_bytes(config.get("batch.size"))}, consumer)
    clients.callback(publisher.close)
    join_first(settings, consumer, assignment, group_watch, stop)
    wait_for(publisher.open, status, stop)
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
        encoder=Encoder(pipeline, prefixes, limits.of[pipeline.outputs.dead_letters.topic]),
        side_outputs=_side_outputs(around, prefixes, shadow, lambda: assignment.topic.topic_id),
        publisher=publisher,
        limits=limits,
        unreadable=Unreadable(config, pipeline, skipped, assignment, publisher, metrics, status.turn),
        metrics=metrics,
        status=status,
        questions=around.questions,
    )
    return loop, shadow


def _check_topics(around: Surroundings, config: dict[str, Any]) -> None:
    if denied := worker_permissions(around.admin, config, around.pipeline, around.group_id):
        raise DependencyDownError(PERMISSIONS, "; ".join(denied))
    require_fit_topics(around.admin, around.pipeline, rebuild_ms=0)  # the model is not known yet
    for reason in warnings(around.admin, around.pipeline):
        _LOG.warning("a topic's settings weaken what is guaranteed", reason=reason)


def _side_outputs(
    around: Surroundings, prefixes: Mapping[str, bytes], shadow: Shadow | None, topic_id: Callable[[], str]
) -> list[SideOutput]:
    side_outputs: list[SideOutput] = []
    if around.pipeline.layout is not None:
        side_outputs.append(WindowStateOutput(around.pipeline, prefixes.get("window_state", b""), topic_id))
    if monitor := around.pipeline.monitor:
        counted = around.status.metrics.sketched.inc
        side_outputs.append(Sketcher(around.pipeline, monitor, prefixes.get("sketches"), counted))
    if shadow is not None:
        side_outputs.append(shadow)
    return side_outputs


def _next_scorer(settings: Settings, pipeline: Pipeline, model: Model) -> Scorer:
    """A scorer for another thread than the loop's: it shares nothing with it, and its time is not measured."""
    registry = registry_at(settings.registry_url, timeout_s=SERVICE_TIMEOUT_S)
    lookup = writer_schema_lookup(registry, pipeline.known_schemas)
    return scorer_of(pipeline, model, alarm_policy(model, pipeline), lookup, rules=rules_in_force(pipeline))


def _publisher(around: Surroundings, config: dict[str, Any], consumer: ReportingConsumer) -> Publisher:
    settings, status = around.settings, around.status
    if settings.guarantee == "at_least_once":
        return AtLeastOncePublisher(config, consumer, settings.transaction_timeout_ms)
    # A named worker's successor ends what it left open. Of two without a name, none must fence the other.
    transactional_id = f"{around.group_id}-{settings.instance_id or _PROCESS}"

    def waiting(reason: str) -> None:
        status.turn()  # the loop is not stuck while it waits for a broker
        note_down(status, DependencyDownError("broker", reason))

    timeout_ms, renewed = settings.transaction_timeout_ms, status.metrics.producer_renewals.inc
    return TransactionalPublisher(config, consumer, transactional_id, timeout_ms, waiting, renewed)
