"""Shared by the benchmarks: a broker, topics, a model, the processes to measure, and the output of results."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.model import write_model
from benchmarks.readings import Tell
from common.errors import UserError
from common.terminal import say, terminal
from local.flagship import FLAGSHIP
from local.isolated_pipeline import isolated_pipeline
from local.kafka import kafka_broker
from local.process import Server, free_ports, http_client, start
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import load_settings
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics
from worker.model.package import ModelPackage, load_package

PARTITIONS = 4
GUARANTEES = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Worker:
    """A worker process and its sidecar's address."""

    server: Server
    address: str

    def get(self, path: str) -> httpx.Response | None:
        """The response of the sidecar; None if it does not answer.

        Raises:
            UserError: the worker has ended.
        """
        try:
            return http_client().get(self.address + path, timeout=30.0)
        except httpx.TransportError:
            self.server.check_alive()
            return None

    def is_ready(self) -> bool:
        """Whether its partitions are assigned and their windows are rebuilt."""
        answer = self.get("/ready")
        return answer is not None and answer.is_success

    def metrics(self) -> dict[str, float]:
        """All metrics now, such as `hazardstream_scored_total` or `hazardstream_stage_duration_seconds_sum{decode}`."""
        answer = self.get("/metrics")
        families = text_string_to_metric_families(answer.text if answer else "")
        return {_shown(s.name, s.labels): s.value for family in families for s in family.samples}


def _shown(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(labels.values())}}}" if labels else name


@dataclass(frozen=True)
class Bench:
    """A running broker with its workers.

    Attributes:
        directory: for pipeline files, logs and the model package (`model`).
        bootstrap: broker addresses.
        progress: shows the progress of each run.
    """

    directory: Path
    bootstrap: str
    progress: Progress

    def shown(self, name: str, total: int) -> Tell:
        """A progress bar of this name."""
        bar = self.progress.add_task(name, total=total)
        return lambda done: self.progress.update(bar, completed=done)

    def pipeline(self, name: str, *, same_input: bool = False) -> Pipeline:
        """The battery pipeline with its own topics and group. The topics are created.

        Args:
            name: of the pipeline.
            same_input: read the input topic that all such runs share.
        """
        pipeline = load_pipeline(str(isolated_pipeline(name, self.directory, same_input=same_input)))
        admin = admin_client(client_config(self.bootstrap))
        create_topics(admin, pipeline, partitions=PARTITIONS, replication_factor=1)
        return pipeline

    def package(self) -> ModelPackage:
        """The model package, loaded as a worker loads it."""
        return load_package(self.directory / "model", version="1")

    def worker(self, pipeline: Pipeline, guarantee: str = "exactly_once", **settings: str) -> Worker:
        """Start a worker process on a pipeline.

        Args:
            pipeline: made by `pipeline`.
            guarantee: see the worker's settings.
            settings: other settings, by name.
        """
        port = free_ports(1)[0]
        chosen = {
            "pipeline": str(self.directory / pipeline.name),
            "bootstrap_servers": self.bootstrap,
            "model": str(self.directory / "model"),
            "guarantee": guarantee,
            "http_port": str(port),
            "cache_directory": str(self.directory / "cache"),
        }
        environment = {f"HAZARDSTREAM_{name.upper()}": value for name, value in (chosen | settings).items()}
        log = self.directory / f"{pipeline.name}-{port}.log"
        command = [sys.executable, "-m", "hazardstream", "worker"]
        return Worker(start(f"the {pipeline.name} worker", command, log, environment), f"http://127.0.0.1:{port}")

    def log_bytes(self, topic: str) -> int:
        """Bytes of a topic on the broker's disk: compressed, with Kafka's overhead."""
        return sum(file.stat().st_size for file in self.directory.glob(f"kafka/data-1/{topic}-*/*.log"))

    def pass_through(self, pipeline: Pipeline) -> Server:
        """Start a process that copies the input to the topic of predictions, in a group named like the pipeline."""
        arguments = [self.bootstrap, pipeline.input.topic, pipeline.outputs.predictions.topic, pipeline.name]
        command = [sys.executable, "-m", "benchmarks.pass_through", *arguments]
        return start("the pass-through", command, self.directory / f"{pipeline.name}.log")


def group_of(pipeline: Pipeline) -> str:
    """Consumer group of the pipeline's workers, which have the environment of this process."""
    return load_settings().group_of(pipeline.name)


def run(
    measure: Callable[[Bench], dict[str, Any]],
    table: Callable[[dict[str, Any]], Table],
    *,
    as_json: bool,
    model: Path | None = None,
) -> None:
    """Start a broker, measure, and print the result: a table, or one JSON object on the last line.

    Args:
        measure: returns figures by name; `faults` among them lists the faults of each run's output.
        table: shows the figures.
        as_json: print the object, and the table to standard error.
        model: package to score with; None: 200 trees of depth 6.

    Raises:
        typer.Exit: code 1 if an output is wrong, 2 if something could not be measured.
    """
    console = terminal(stderr=as_json)
    try:
        with _bench(console, model) as bench:
            measured = {"cpus": os.cpu_count(), "partitions": PARTITIONS} | measure(bench)
    except UserError as error:
        terminal(stderr=True).print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error
    line = json.dumps(measured)
    figures = json.loads(line)  # as whoever reads the line has them
    console.print(table(figures))
    wrong = {name: told for name, told in figures["faults"].items() if told}
    for name, told in wrong.items():
        console.print(f"{name}: " + "; ".join(told), style="red")
    if as_json:
        say(line)
    if wrong:
        raise typer.Exit(1)


@contextmanager
def _bench(console: Console, model: Path | None) -> Iterator[Bench]:
    columns = TextColumn("{task.description:>24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        tempfile.TemporaryDirectory(prefix="hazardstream-bench-") as name,
        kafka_broker(Path(name) / "kafka") as bootstrap,
        Progress(*columns, console=console) as progress,
    ):
        bench = Bench(Path(name), bootstrap, progress)
        if model is None:
            write_model(bench.directory / "model", load_pipeline(FLAGSHIP))
        else:
            shutil.copytree(model, bench.directory / "model")
        yield bench
