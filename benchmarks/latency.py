"""Latency at fixed rates: from the time at which a reading should be sent to the arrival of its committed prediction.

The sender keeps its rate whatever happens, and latency counts from the time at which a reading was *due*. So a stall
adds to the latency of every reading that waits for it (no coordinated omission; Gil Tene, "How NOT to Measure Latency",
2013). Sender and receiver are separate processes, and the receiver reads only committed records.

Example:
    python -m benchmarks.latency --rate 10000 --seconds 10 --json
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from tenacity import Retrying, retry_if_result, wait_fixed

from benchmarks.checking import faults
from benchmarks.harness import GUARANTEES, Bench, run
from benchmarks.peers.running import Output
from benchmarks.readings import Readings, publish
from common.arrays import Int
from common.cli_options import JsonOption
from common.errors import UserError
from local.process import Server, start, stop, wait_until_ready
from worker.config.pipeline import Pipeline

CONTENDERS = ("pass_through", *GUARANTEES)
RATES = (1000, 10_000, 30_000)
WARM_UP = 2000
LEAD_S = 3
"""The first seconds of each rate are not counted, because a new rate has effects that pass."""


def measure(rates: list[int], seconds: int, modules: int, bench: Bench) -> dict[str, Any]:
    """Measure each contender at each rate.

    Raises:
        UserError: something could not be started, or made no progress.
    """
    outcomes = {name: _contender(bench, name, rates, seconds, modules) for name in CONTENDERS}
    return {
        "seconds": seconds,
        "modules": modules,
        "latency_ms": {name: figures for name, (figures, _) in outcomes.items()},
        "faults": {name: told for name, (_, told) in outcomes.items()},
    }


def _contender(
    bench: Bench, name: str, rates: list[int], seconds: int, modules: int
) -> tuple[dict[str, dict[str, float]], list[str]]:
    pipeline = bench.pipeline(name)
    count = WARM_UP + sum(rates) * (LEAD_S + seconds)
    readings = Readings.until_now(modules, count)
    server = bench.pass_through(pipeline) if name == "pass_through" else bench.worker(pipeline, name).server
    servers = [server]
    try:
        _warm_up(bench, server, readings, pipeline)
        described = [str(readings.modules), str(readings.start_ms)]
        sink = _process(
            bench, "latency_sink", name, [pipeline.outputs.predictions.topic, *described, str(count)], "npz"
        )
        servers.append(sink)
        phases = [f"{rate}:{LEAD_S + seconds}" for rate in rates]
        source = _process(
            bench, "latency_source", name, [pipeline.input.topic, *described, str(WARM_UP), *phases], "json"
        )
        servers.append(source)
        _await(bench, name, source, sink, server)
    finally:
        stop(servers)
    received = np.load(_file(bench, "latency_sink", name, "npz"))
    number, received_ns = received["number"], received["received_ns"]
    sent = json.loads(_file(bench, "latency_source", name, "json").read_text())
    return {str(p["rate"]): _percentiles(p, number, received_ns) for p in sent}, faults(number, count)


def _warm_up(bench: Bench, server: Server, readings: Readings, pipeline: Pipeline) -> None:
    """Send the first readings, which wait until the contender has joined its group."""
    publish(readings, range(WARM_UP), pipeline.input.topic, bench.bootstrap)
    output = Output(pipeline.outputs.predictions.topic, bench.bootstrap)
    try:
        wait_until_ready([server], lambda: output.count() >= WARM_UP)
    finally:
        output.close()


def _file(bench: Bench, module: str, name: str, suffix: str) -> Path:
    return bench.directory / f"{module}-{name}.{suffix}"


def _process(bench: Bench, module: str, name: str, arguments: list[str], suffix: str) -> Server:
    file = _file(bench, module, name, suffix)
    command = [sys.executable, "-m", f"benchmarks.{module}", bench.bootstrap, *arguments, str(file)]
    return start(module, command, file.with_suffix(".log"))


def _await(bench: Bench, name: str, source: Server, sink: Server, server: Server) -> None:
    """Wait until both have written their results.

    Raises:
        UserError: one of them, or the contender, failed.
    """
    bar = bench.progress.add_task(name, total=None)

    def ended() -> bool:
        server.check_alive()
        for each in (source, sink):
            if each.process.poll() not in {None, 0}:
                each.check_alive()
        return source.process.poll() == sink.process.poll() == 0

    Retrying(wait=wait_fixed(0.2), retry=retry_if_result(lambda done: not done))(ended)
    bench.progress.update(bar, total=1, completed=1)


def _percentiles(phase: dict[str, Any], number: Int, received_ns: Int) -> dict[str, float]:
    """Latency of the readings at one rate, without the first seconds, ms."""
    nth = number - phase["first"]
    counted = (nth >= LEAD_S * phase["rate"]) & (nth < phase["count"])
    if not counted.any():
        raise UserError(f"no reading arrived at {phase['rate']} readings/s; try a lower --rate")
    latency_ms = (received_ns[counted] - phase["start_ns"] - nth[counted] * (1e9 / phase["rate"])) / 1e6
    p50, p99, p999 = np.percentile(latency_ms, (50, 99, 99.9)).round(2).tolist()
    return {
        "p50": p50,
        "p99": p99,
        "p99.9": p999,
        "max": round(float(latency_ms.max()), 2),
        "readings": int(counted.sum()),
        "sent_late_p99": phase["late_ms"],
    }


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    title = f"latency in ms, {figures['seconds']} s per rate, {figures['modules']:,} modules, {figures['cpus']} CPUs"
    shown = Table("readings/s", "process", title=title, title_justify="left")
    columns = ("p50", "p99", "p99.9", "max")
    for column in columns:
        shown.add_column(column, justify="right")
    latency = figures["latency_ms"]
    for rate in latency["exactly_once"]:
        for name in CONTENDERS:
            shown.add_row(f"{int(rate):,}", name, *(f"{latency[name][rate][column]:,.1f}" for column in columns))
    return shown


def main(
    rate: Annotated[list[int] | None, typer.Option(min=10, help="Readings per second; repeat for more rates.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds for each rate.")] = 10,
    modules: Annotated[int, typer.Option(min=1, help="Modules in the fleet.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Latency of one worker at each guarantee, beside a pass-through, from when a reading is due to its prediction.

    By default at 1,000, 10,000 and 30,000 readings a second. Exit code 1 if an output does not hold every reading
    exactly once.

    Example: python -m benchmarks.latency --rate 10000 --seconds 10 --json
    """
    run(partial(measure, sorted(set(rate or RATES)), seconds, modules), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
