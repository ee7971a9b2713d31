"""The whole system on one machine: broker, model, worker and fleet, with a live view and a final count."""

import json
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from common.environment import variable
from common.errors import UserError
from common.terminal import styled
from common.text import markup
from local.audit import Audit, audit
from local.demo_view import picture, summary
from local.flagship import FLAGSHIP
from local.isolated_pipeline import isolated_pipeline
from local.kafka import BOOTSTRAP_VARIABLE, broker
from local.mock import mock_cluster
from local.output_watcher import Watcher
from local.process import Server, http_client, stop
from local.worker_process import start_worker, stop_worker
from pipelines.battery_hazard.simulator.live import SimulateOptions, SimulationSummary, simulate
from worker.config.pipeline import SHIPPED_PIPELINES, Pipeline, load_pipeline
from worker.config.pipeline_file import FILE_NAME
from worker.kafka.client_config import admin_client
from worker.kafka.reachable import reachable_config
from worker.kafka.topics import create_topics

PARTITIONS = 4
EVENT_HOURS = 1.5  # long enough for a fault to develop, whatever the duration of the demo
FAULTS = 3
BAD_RATE = 0.003
_SETTLE_S = 60.0
MOCK_LIMITS = (
    "Kafka's jars cannot be downloaded, so the demo runs on the mock cluster of the client library. It shows records "
    "and alarms, but not exactly-once delivery: the mock loses transactional offsets, has no isolation, and trims "
    "partitions at 5 MB. The worker runs at_least_once."
)


@dataclass(frozen=True)
class DemoOptions:
    """Options. seconds: how long the fleet runs, by wall clock; keep: leave everything running until Ctrl-C."""

    seconds: float
    modules: int
    seed: int
    keep: bool


@dataclass
class Result:
    """The result of the demo."""

    audit: Audit
    simulated: SimulationSummary
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    broker: str

    def as_json(self) -> str:
        """One line for machines."""
        fields: dict[str, Any] = vars(self.audit) | {
            "latency_ms_p50": self.latency_ms_p50,
            "latency_ms_p99": self.latency_ms_p99,
            "faults": self.simulated.faults,
            "broker": self.broker,
        }
        return json.dumps(fields)


def run_demo(options: DemoOptions, console: Console) -> Result:
    """Run everything, show it live, and count every record.

    Raises:
        UserError: something cannot be started; the text says what.
    """
    flagship = load_pipeline(str(SHIPPED_PIPELINES / FLAGSHIP))
    directory = Path(tempfile.mkdtemp(prefix="hazardstream-demo-"))
    with ExitStack() as stack:
        console.print("starting a broker …")
        bootstrap, kind, pipeline = stack.enter_context(_broker(directory, flagship, console))
        pipeline_file = pipeline.folder / FILE_NAME
        if kind != "mock":
            admin = admin_client(reachable_config(bootstrap))
            create_topics(admin, pipeline, partitions=PARTITIONS, replication_factor=1)
        console.print("starting the worker …")
        guarantee = "at_least_once" if kind == "mock" else "exactly_once"
        options_of_worker = ["--bootstrap", bootstrap, "--pipeline", str(pipeline_file), "--guarantee", guarantee]
        options_of_worker += ["--model", str(flagship.shipped_model)]
        worker, address = start_worker(directory, options_of_worker)
        stack.callback(stop, [worker])
        watcher = Watcher(pipeline, bootstrap)
        watcher.start()
        stack.callback(watcher.stop)
        simulated = _play(options, bootstrap, pipeline_file, watcher, worker, address, console)
        if options.keep:
            _linger(console, bootstrap, pipeline_file, flagship.shipped_model, address)
        stop_worker(worker)
        result = Result(
            audit(pipeline, bootstrap),
            simulated,
            watcher.latency_ms(50),
            watcher.latency_ms(99),
            {"mock": "mock cluster (not Kafka)", "own": "Apache Kafka, local", "given": bootstrap}[kind],
        )
    console.print(summary(result.audit, result.simulated, result.latency_ms_p50, result.latency_ms_p99, result.broker))
    console.print(
        f"The worker's sidecar was at {address} (/docs, /health, /metrics); its log is {directory / 'worker.log'}.\n"
        "`hazardstream demo --keep` leaves everything running; `hazardstream --help` lists all commands.",
        soft_wrap=True,
    )
    return result


@contextmanager
def _broker(directory: Path, flagship: Pipeline, console: Console) -> Iterator[tuple[str, str, Pipeline]]:
    """Bootstrap address, what kind of broker it is, and the pipeline to use on it."""
    with ExitStack() as stack:
        kind, pipeline = "own", flagship
        try:
            bootstrap = stack.enter_context(broker(directory / "kafka"))
        except UserError as error:
            console.print(styled(f"[yellow]{MOCK_LIMITS}[/]\n(why: {markup(error)})"))
            names = flagship.topics.values()
            bootstrap, kind = stack.enter_context(mock_cluster(dict.fromkeys(names, PARTITIONS))), "mock"
        if variable(BOOTSTRAP_VARIABLE):
            # A broker of the user: the demo uses its own topics, so that it changes no others and the counts are right.
            kind, pipeline = "given", load_pipeline(str(isolated_pipeline(directory.name, directory)))
        yield bootstrap, kind, pipeline


def _play(
    options: DemoOptions,
    bootstrap: str,
    pipeline_file: Path,
    watcher: Watcher,
    worker: Server,
    address: str,
    console: Console,
) -> SimulationSummary:
    """Run the fleet with a live view, until every produced record has an outcome."""
    fleet = SimulateOptions(
        pipeline=str(pipeline_file),
        modules=options.modules,
        seed=options.seed,
        faults=min(FAULTS, options.modules),
        speed=max(1.0, EVENT_HOURS * 3600 / options.seconds),
        duration_s=options.seconds,
        bad_rate=BAD_RATE,
        bootstrap=bootstrap,
    )
    latest: list[SimulationSummary] = []
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool, Live(console=console, refresh_per_second=4) as live:
        running = pool.submit(simulate, fleet, lambda s: latest.__setitem__(slice(None), [s]), ended)
        deadline = None
        try:
            while True:
                worker.check_alive()
                health = _health(address)
                live.update(picture(watcher, latest[-1] if latest else None, health, address, options.seconds))
                if running.done() and deadline is None:
                    running.result()
                    deadline = time.monotonic() + _SETTLE_S
                if deadline is not None and (_settled(running.result(), watcher) or time.monotonic() > deadline):
                    break
                time.sleep(0.25)
        finally:
            ended.set()
        return running.result()


def _settled(simulated: SimulationSummary, watcher: Watcher) -> bool:
    """Whether the watcher has seen an outcome of every produced record."""
    seen = watcher.counts["predictions"] + watcher.counts["dead_letters"]
    return seen >= simulated.produced - simulated.duplicates


def _health(address: str) -> dict[str, Any]:
    try:
        answer = http_client().get(f"{address}/health", timeout=2.0)
    except httpx.TransportError:
        return {}
    health: dict[str, Any] = answer.json()
    return health


def _linger(console: Console, bootstrap: str, pipeline_file: Path, model: Path, address: str) -> None:
    console.print(
        "\nBroker and worker are still running; Ctrl-C ends them. In another terminal, first:\n\n"
        f"export KAFKA_BOOTSTRAP_SERVERS={bootstrap}\n"
        f"export HAZARDSTREAM_PIPELINE={shlex.quote(str(pipeline_file))}\n"
        f"export HAZARDSTREAM_MODEL={shlex.quote(str(model))}\n\n"
        "Then try:\n\n"
        "hazardstream tail alarms --from-beginning\n"
        "hazardstream simulate --duration 60\n"
        "hazardstream dlq list\n"
        f"curl {address}/health        # also /docs, /metrics, /model, /keys/RackA1_Module01\n",
        soft_wrap=True,
    )
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
