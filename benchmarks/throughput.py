"""Readings per second of one worker process, beside what the client library gives at most, on a real Kafka broker.

Example:
    python -m benchmarks.throughput --readings 300000 --json
"""

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.draining import Pace, Tell, publish_readings, time_draining
from benchmarks.model import write_model
from local.audit import Audit, audit, read_all
from local.kafka import kafka_broker
from local.own_pipeline import own_pipeline
from local.process import Server, free_ports, start, stop
from worker.errors import UserError
from worker.kafka_config import admin_client, client_config
from worker.pipeline import Pipeline, load_pipeline
from worker.topics import create_topics

MODULES, PARTITIONS = 1000, 4
GUARANTEES = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Run:
    """One process draining the input: its pace, and what is wrong with its output (nothing should be)."""

    pace: Pace
    faults: list[str]


@dataclass(frozen=True)
class Bench:
    """What the runs share.

    Attributes:
        directory: for pipeline files, logs and the model package (`model`).
        bootstrap: broker addresses.
        readings: on the input topic.
        progress: shows how far each run is.
    """

    directory: Path
    bootstrap: str
    readings: int
    progress: Progress

    def shown(self, name: str) -> Tell:
        """A progress bar of this name."""
        bar = self.progress.add_task(name, total=self.readings)
        return lambda done: self.progress.update(bar, completed=done)


def measure(directory: Path, readings: int, console: Console) -> dict[str, Run]:
    """Start a broker, fill it, and time pass-through and workers one after the other.

    Raises:
        UserError: something could not be started or stood still.
    """
    columns = TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with ExitStack() as stack:
        bootstrap = stack.enter_context(kafka_broker(directory / "kafka"))
        bench = Bench(directory, bootstrap, readings, stack.enter_context(Progress(*columns, console=console)))
        pipelines = {name: _pipeline(name, bench) for name in ("warm_up", "pass_through", *GUARANTEES)}
        write_model(directory / "model", pipelines["exactly_once"])
        publish_readings(
            pipelines["warm_up"], bootstrap, modules=MODULES, readings=readings, tell=bench.shown("publish")
        )
        # The first to fetch and commit would pay for a cold broker.
        _pass_through(bench, "warm_up", pipelines["warm_up"])
        runs = {"pass_through": _pass_through(bench, "pass_through", pipelines["pass_through"])}
        return runs | {name: _worker(bench, name, pipelines[name]) for name in GUARANTEES}


def _pipeline(name: str, bench: Bench) -> Pipeline:
    """The battery pipeline with outputs, and hence a group, of this run's own; its topics exist."""
    file = own_pipeline(name, bench.directory, same_input=True)
    pipeline = load_pipeline(str(file))
    admin = admin_client(client_config(bench.bootstrap))
    create_topics(admin, pipeline, partitions=PARTITIONS, replication_factor=1)
    return pipeline


def _pass_through(bench: Bench, name: str, pipeline: Pipeline) -> Run:
    sink = pipeline.outputs.predictions.topic
    arguments = [bench.bootstrap, pipeline.input.topic, sink, name]
    copier = start(name, [sys.executable, "-m", "benchmarks.pass_through", *arguments], bench.directory / f"{name}.log")
    pace = _timed(bench, name, copier, pipeline, group=name)
    copied = len(read_all(sink, bench.bootstrap))
    return Run(pace, [] if copied == bench.readings else [f"{copied} readings were copied instead of {bench.readings}"])


def _worker(bench: Bench, guarantee: str, pipeline: Pipeline) -> Run:
    options = {
        "--pipeline": str(bench.directory / f"{guarantee}.yaml"),
        "--bootstrap": bench.bootstrap,
        "--model": str(bench.directory / "model"),
        "--guarantee": guarantee,
        "--http-port": str(free_ports(1)[0]),
    }
    command = [sys.executable, "-m", "worker", "worker", *(word for option in options.items() for word in option)]
    worker = start(
        f"the {guarantee} worker",
        command,
        bench.directory / f"{guarantee}.log",
        {"HAZARDSTREAM_CACHE_DIRECTORY": str(bench.directory / "cache")},
    )
    pace = _timed(bench, guarantee, worker, pipeline, group=f"hazardstream-{pipeline.name}")
    return Run(pace, faults(audit(pipeline, bench.bootstrap), bench.readings))


def _timed(bench: Bench, name: str, server: Server, pipeline: Pipeline, group: str) -> Pace:
    try:
        topic = pipeline.input.topic
        return time_draining(server, bench.bootstrap, group, topic, bench.readings, bench.shown(name))
    finally:
        stop([server])


def faults(account: Audit, readings: int) -> list[str]:
    """What is wrong with a run's output, in words; nothing if every reading was scored exactly once."""
    expected = {"produced": readings, "scored": readings}
    none_of = ("dead_lettered", "deduplicated", "duplicates", "missing")
    expected |= dict.fromkeys(none_of, 0)
    found = asdict(account)
    return [f"{what}: {found[what]} instead of {count}" for what, count in expected.items() if found[what] != count]


def ratios(runs: dict[str, Run]) -> dict[str, float]:
    """How the paces compare, rounded to 3 places."""
    pace = {name: run.pace.readings_per_s for name, run in runs.items()}
    pairs = [*((name, "pass_through") for name in GUARANTEES), ("exactly_once", "at_least_once")]
    return {f"{a}/{b}": round(pace[a] / pace[b], 3) for a, b in pairs}


def table(runs: dict[str, Run], readings: int) -> Table:
    """The result for a person to read."""
    title = f"{readings:,} readings of {MODULES:,} modules, {PARTITIONS} partitions, one process, {os.cpu_count()} CPUs"
    shown = Table("run", title=title, title_justify="left")
    for heading in ("readings/s", "of pass-through", "readings/CPU s"):
        shown.add_column(heading, justify="right")
    shown.add_column("output")
    ceiling = runs["pass_through"].pace.readings_per_s
    for name, run in runs.items():
        verdict = "[red]" + "; ".join(run.faults) if run.faults else "every reading exactly once"
        by_clock, by_cpu = run.pace
        shown.add_row(name, f"{by_clock:,.0f}", f"{by_clock / ceiling:.0%}", f"{by_cpu:,.0f}", verdict)
    return shown


def main(
    readings: Annotated[int, typer.Option(min=20_000, help="Readings to publish and drain.")] = 300_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Throughput of one worker at each guarantee, beside a pass-through that does no work, on a broker started here.

    A `HAZARDSTREAM_…` setting in the environment, such as `HAZARDSTREAM_BATCH_MAX_MESSAGES`, applies to all runs.
    Exit code 1 if an output does not hold every reading exactly once.

    Example: python -m benchmarks.throughput --readings 300000 --json
    """
    console = Console(stderr=as_json, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="hazardstream-bench-") as directory:
            runs = measure(Path(directory), readings, console)
    except UserError as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error
    console.print(table(runs, readings))
    console.print("Compared: " + ", ".join(f"{pair} {ratio}" for pair, ratio in ratios(runs).items()))
    if as_json:
        result = {
            "readings": readings,
            "modules": MODULES,
            "partitions": PARTITIONS,
            "cpus": os.cpu_count(),
            "readings_per_s": {name: round(run.pace.readings_per_s) for name, run in runs.items()},
            "readings_per_cpu_s": {name: round(run.pace.readings_per_cpu_s) for name, run in runs.items()},
            "ratios": ratios(runs),
            "faults": {name: run.faults for name, run in runs.items()},
        }
        typer.echo(json.dumps(result))
    if any(run.faults for run in runs.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
