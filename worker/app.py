"""Run a worker until it is asked to stop. After an uncertain transaction, restart it within the same process."""

import gc
import os
import signal
import threading

import structlog

from common.errors import (
    DeniedError,
    DependencyDownError,
    FencedError,
    NameTakenError,
    SupersededError,
    UncertainError,
)
from worker.admission.admit import demands_of
from worker.admission.in_use import give_up
from worker.assembly import Surroundings, assemble
from worker.config.pipeline import load_pipeline
from worker.config.settings import Settings, ignored_service_links, unread_settings
from worker.consume.group_health import Succession
from worker.http.sidecar import sidecar
from worker.kafka.client_config import admin_client, client_config
from worker.model.contract import ModelFailedError
from worker.model.package_files import FAULTS
from worker.observe.dependency_wait import StoppedError, note_down, wait_for
from worker.observe.loop_questions import LoopQuestions
from worker.observe.metrics import Metrics
from worker.observe.watchdog import start_watchdog
from worker.observe.worker_status import Status
from worker.observe.zero_series import begin_at_zero

_LOG = structlog.get_logger(__name__)
SHUTDOWN_WITHIN_S = 30.0
_RETRY_AFTER_DENIAL_S = 5.0


def run_worker(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT.

    Raises:
        UserError: the user has to correct something.
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
    begin_at_zero(status.metrics, pipeline, FAULTS)
    start_watchdog(status)
    questions = LoopQuestions()
    server = sidecar(status, questions, settings.http_host, settings.http_port, settings.http_allowed_hosts)
    port = server.start()
    # With port 0 the system has chosen one, and the instance may be named after the port.
    settings = settings.model_copy(update={"http_port": port})
    status.name(settings.instance)
    for reason in unread_settings():
        _LOG.warning("setting not read", reason=reason)
    if links := ignored_service_links():
        _LOG.debug("variables of Kubernetes services are not settings", names=links)
    _LOG.info("sidecar listening", address=f"http://{settings.http_host}:{port}")
    # One client for the whole process: librdkafka may crash if a client is closed while it waits for an answer.
    admin = admin_client(client_config(settings.bootstrap_servers))
    around = Surroundings(settings, pipeline, demands, admin, status, questions, stop)
    try:
        while not stop.is_set():
            try:
                _run(around)
            except UncertainError as uncertain:
                _await_restart(uncertain, around)
            except ModelFailedError as failed:
                give_up(failed, demands, status)
    except StoppedError:
        _LOG.info("stopped while waiting", reasons=status.reasons_not_ready())
    finally:
        status.phase = "stopping"
        server.stop()


def _run(around: Surroundings) -> None:
    worker, left = assemble(around), threading.Event()
    worker.watch_models(left)
    group, topic = around.group_id, around.pipeline.input.topic
    _LOG.info("joining the group", group=group, topic=topic, guarantee=around.settings.guarantee)
    gc.freeze()  # or each collection would traverse all that was imported
    try:
        worker.loop.run(around.stop)
    finally:
        left.set()
        worker.clients.close()
        _LOG.info("left the group")


def _await_restart(uncertain: UncertainError, around: Surroundings) -> None:
    """Wait until it is known that no other worker has taken this one's place, so that it may restart.

    Raises:
        SupersededError: another one has.
    """
    settings, status, stop = around.settings, around.status, around.stop
    _LOG.warning("restarting in place", reason=str(uncertain))
    status.phase, status.partitions = "starting", {}
    status.metrics.restarts.inc()
    if isinstance(uncertain, DeniedError | NameTakenError):
        note_down(status, DependencyDownError(uncertain.dependency, str(uncertain)))
        stop.wait(_RETRY_AFTER_DENIAL_S)
    if isinstance(uncertain, FencedError) and settings.instance_id:
        session_s = settings.session_timeout_ms / 1000
        config = client_config(settings.bootstrap_servers)
        succession = Succession(config, around.group_id, settings.instance_id, session_s)
        if wait_for(succession.superseded, status, stop):
            raise SupersededError(str(uncertain)) from uncertain


def _begin_stop(stop: threading.Event) -> None:
    stop.set()
    # The current transaction is committed or aborted by then. A successor processes what is not committed.
    deadline = threading.Timer(SHUTDOWN_WITHIN_S, os._exit, (1,))
    deadline.daemon = True
    deadline.start()
