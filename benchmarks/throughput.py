"""Readings per second of one worker process, compared with a pass-through, on a real Kafka broker.

Example:
    python -m benchmarks.throughput --readings 300000 --json
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.table import Table

from benchmarks.draining import Pace, time_draining
from benchmarks.harness import GUARANTEES, PARTITIONS, Bench, Worker, group_of, run
from benchmarks.readings import Readings, publish
from common.cli_options import JsonOption
from local.audit import Audit, audit, read_all
from local.process import Server, stop
from worker.config.pipeline import Pipeline

MODULES = 1000
_ASK_EVERY_S = 0.01


@dataclass(frozen=True)
class Run:
    """One process that drains the input: its throughput, and the faults of its output."""

    pace: Pace
    faults: list[str]


@dataclass
class Answers:
    """Response times of `/metrics` while the worker was draining, ms."""

    took_ms: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Percentiles, ms, and the number of responses."""
        p50, p99 = np.percentile(self.took_ms, (50, 99)).round(1).tolist()
        return {"p50": p50, "p99": p99, "max": round(max(self.took_ms), 1), "answers": len(self.took_ms)}


def measure(readings: int, bench: Bench) -> dict[str, Any]:
    """Fill a topic, and measure the pass-through and workers on it in turn.

    Raises:
        UserError: something could not be started, or made no progress.
    """
    pipelines = {
        name: bench.pipeline(name, same_input=True)
        for name in ("warm_up", "pass_through", *GUARANTEES, "asked_for_metrics")
    }
    source, topic = Readings.until_now(MODULES, readings), pipelines["warm_up"].input.topic
    publish(source, range(readings), topic, bench.bootstrap, bench.shown("publish", readings))
    # Otherwise a cold broker would slow down the first run.
    _pass_through(bench, pipelines["warm_up"], readings)
    runs = {"pass_through": _pass_through(bench, pipelines["pass_through"], readings)}
    runs |= {name: _worker(bench, pipelines[name], name, readings) for name in GUARANTEES}
    answers = Answers()
    asked = _worker(bench, pipelines["asked_for_metrics"], "exactly_once", readings, answers)
    return {
        "readings": readings,
        "modules": MODULES,
        "readings_per_s": {name: round(run.pace.readings_per_s) for name, run in runs.items()},
        "readings_per_cpu_s": {name: round(run.pace.readings_per_cpu_s) for name, run in runs.items()},
        "ratios": ratios(runs),
        "bytes_a_reading": {
            "input": round(bench.log_bytes(topic) / readings),
            "predictions": round(bench.log_bytes(pipelines["exactly_once"].outputs.predictions.topic) / readings),
        },
        "metrics_answer_ms": answers.figures(),
        "faults": {name: run.faults for name, run in runs.items()} | {"asked_for_metrics": asked.faults},
    }


def _pass_through(bench: Bench, pipeline: Pipeline, readings: int) -> Run:
    copier = bench.pass_through(pipeline)
    pace = _timed(bench, copier, pipeline, pipeline.name, readings)
    copied = len(read_all(pipeline.outputs.predictions.topic, bench.bootstrap))
    return Run(pace, [] if copied == readings else [f"{copied} readings were copied instead of {readings}"])


def _worker(bench: Bench, pipeline: Pipeline, guarantee: str, readings: int, answers: Answers | None = None) -> Run:
    worker = bench.worker(pipeline, guarantee)
    with _asking(worker, answers):
        pace = _timed(bench, worker.server, pipeline, group_of(pipeline), readings)
    return Run(pace, faults(audit(pipeline, bench.bootstrap), readings))


def _timed(bench: Bench, server: Server, pipeline: Pipeline, group: str, readings: int) -> Pace:
    try:
        shown = bench.shown(pipeline.name, readings)
        return time_draining([server], bench.bootstrap, group, pipeline.input.topic, readings, shown)
    finally:
        stop([server])


@contextmanager
def _asking(worker: Worker, answers: Answers | None) -> Iterator[None]:
    """Request `/metrics` repeatedly. Only responses while readings are being scored count."""
    if answers is None:
        yield
        return
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not done.wait(_ASK_EVERY_S):
                asked = time.perf_counter()
                try:
                    text = client.get(f"{worker.address}/metrics").text
                except httpx.TransportError:
                    continue  # the worker is still starting, or has been stopped
                if "\nhazardstream_scored_total 0.0\n" not in text:
                    answers.took_ms.append((time.perf_counter() - asked) * 1000)

    thread = threading.Thread(target=ask, name="asking")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def faults(account: Audit, readings: int) -> list[str]:
    """Faults of a run's output; empty if every reading was scored exactly once."""
    expected = {"produced": readings, "scored": readings}
    none_of = ("dead_lettered", "deduplicated", "duplicates", "missing")
    expected |= dict.fromkeys(none_of, 0)
    found = asdict(account)
    return [f"{what}: {found[what]} instead of {count}" for what, count in expected.items() if found[what] != count]


def ratios(runs: dict[str, Run]) -> dict[str, float]:
    """Ratios of the throughputs, rounded to 3 places."""
    pace = {name: run.pace.readings_per_s for name, run in runs.items()}
    pairs = [*((name, "pass_through") for name in GUARANTEES), ("exactly_once", "at_least_once")]
    return {f"{a}/{b}": round(pace[a] / pace[b], 3) for a, b in pairs}


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    answer = figures["metrics_answer_ms"]
    shown = Table(
        "run",
        title=f"{figures['readings']:,} readings of {MODULES:,} modules, {PARTITIONS} partitions, one process, "
        f"{figures['cpus']} CPUs",
        title_justify="left",
        caption=f"/metrics while draining: p50 {answer['p50']} ms, p99 {answer['p99']} ms",
        caption_justify="left",
    )
    for heading in ("readings/s", "of pass-through", "readings/CPU s"):
        shown.add_column(heading, justify="right")
    shown.add_column("output")
    paces, by_cpu = figures["readings_per_s"], figures["readings_per_cpu_s"]
    for name, pace in paces.items():
        verdict = "wrong: see below" if figures["faults"][name] else "every reading exactly once"
        shown.add_row(name, f"{pace:,}", f"{pace / paces['pass_through']:.0%}", f"{by_cpu[name]:,}", verdict)
    return shown


def main(
    readings: Annotated[int, typer.Option(min=20_000, help="Readings to publish and drain.")] = 300_000,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Package to score with.  [default: 200 trees of depth 6]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Throughput of one worker at each guarantee, compared with a pass-through, on a local broker.

    A last run is asked for `/metrics` every 10 ms; its throughput is not reported. A `HAZARDSTREAM_…` setting in the
    environment, such as `HAZARDSTREAM_BATCH_MAX_MESSAGES`, applies to all runs. Exit code 1 if an output does not hold
    every reading exactly once.

    Example: python -m benchmarks.throughput --readings 300000 --json
    """
    run(partial(measure, readings), table, as_json=as_json, model=model)


if __name__ == "__main__":
    typer.run(main)
