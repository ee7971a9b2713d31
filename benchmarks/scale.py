"""Rate, cost and memory of a worker by number of modules, and rate by number of workers, on real Kafka.

Example:
    python -m benchmarks.scale --modules 64 --modules 100000 --json
"""

import re
import signal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.table import Table

from benchmarks.checking import output_faults
from benchmarks.draining import Pace, time_draining
from benchmarks.harness import PARTITIONS, Bench, Worker, group_of, run
from benchmarks.readings import Readings, publish
from common.cli_options import JsonOption
from local.process import stop, wait_until_ready
from worker.config.pipeline import Pipeline

MODULES = (64, 1000, 10_000, 100_000, 1_000_000)
WORKERS = (1, 2)
_MODULES_OF_WORKERS = 1000
_READINGS_A_MODULE = 4
"""At least this many readings per module. The first one is not counted, because it also allocates the module."""
_BYTES_SHOW_FROM = 10_000
"""At least this many modules; the memory of fewer is small compared with the buffers."""


def measure(modules: list[int], readings: int, bench: Bench) -> dict[str, Any]:
    """Measure by number of modules, then by number of workers.

    Raises:
        UserError: something could not be started, or made no progress.
    """
    _by_modules(bench, _MODULES_OF_WORKERS, readings, "warm_up")  # the first run on a cold broker would be slower
    by_modules, by_workers, faults = {}, {}, {}
    for count in modules:
        by_modules[count], faults[f"{count} modules"] = _by_modules(bench, count, readings, f"modules_{count}")
    base = by_modules[modules[0]]["rss_bytes"]
    for count, figures in by_modules.items():
        if count >= _BYTES_SHOW_FROM:
            figures["bytes_a_module"] = round((figures["rss_bytes"] - base) / (count - modules[0]))
    for count in WORKERS:
        by_workers[count], faults[f"{count} workers"] = _by_workers(bench, count, readings)
    return {"by_modules": by_modules, "by_workers": by_workers, "faults": faults}


def _by_modules(bench: Bench, modules: int, readings: int, name: str) -> tuple[dict[str, Any], list[str]]:
    pipeline = bench.pipeline(name)
    count = max(readings, _READINGS_A_MODULE * modules)
    source = Readings.until_now(modules, count)
    publish(
        source, range(count), pipeline.input.topic, bench.bootstrap, bench.shown(f"{modules:,} modules: publish", count)
    )
    worker = bench.worker(pipeline)
    try:
        pace = _timed(bench, [worker], pipeline, count, f"{modules:,} modules: score", after=modules)
        pid = worker.server.process.pid
        memory = {"rss_bytes": psutil.Process(pid).memory_info().rss, "peak_rss_bytes": _peak_rss_bytes(pid)}
    finally:
        stop([worker.server])
    return {"readings": count} | _figures(pace) | memory, output_faults(source, count, pipeline, bench.bootstrap)


def _by_workers(bench: Bench, workers: int, readings: int) -> tuple[dict[str, Any], list[str]]:
    pipeline = bench.pipeline(f"workers_{workers}")
    source = Readings.until_now(_MODULES_OF_WORKERS, readings)
    running = [bench.worker(pipeline, instance_id=f"w{number}") for number in range(workers)]
    servers = [worker.server for worker in running]
    try:
        _await_shared_out(running)
        # All workers must have the whole topic ahead of them when they start.
        for server in servers:
            server.signal(signal.SIGSTOP)
        publish(source, range(readings), pipeline.input.topic, bench.bootstrap)
        for server in servers:
            server.signal(signal.SIGCONT)
        pace = _timed(bench, running, pipeline, readings, f"{workers} workers")
    finally:
        stop(servers)
    return {"readings": readings} | _figures(pace), output_faults(source, readings, pipeline, bench.bootstrap)


def _await_shared_out(workers: list[Worker]) -> None:
    """Wait until each worker has its partitions."""

    def shared_out() -> bool:
        each = [worker.metrics().get("hazardstream_partitions{ready}", 0) for worker in workers]
        return sum(each) == PARTITIONS and min(each) > 0 and all(worker.is_ready() for worker in workers)

    wait_until_ready([worker.server for worker in workers], shared_out)


def _timed(bench: Bench, workers: list[Worker], pipeline: Pipeline, readings: int, shown: str, after: int = 1) -> Pace:
    servers, tell = [worker.server for worker in workers], bench.shown(shown, readings)
    return time_draining(servers, bench.bootstrap, group_of(pipeline), pipeline.input.topic, readings, tell, after)


def _figures(pace: Pace) -> dict[str, Any]:
    return {
        "readings_per_s": round(pace.readings_per_s),
        "cpu_us_a_reading": round(1e6 / pace.readings_per_cpu_s, 2),
    }


def _peak_rss_bytes(pid: int) -> int:
    """Peak memory of a process (proc(5): VmHWM, in kB)."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    shown = Table("", title=f"one run each, exactly once, {figures['cpus']} CPUs", title_justify="left")
    for heading in ("readings", "readings/s", "CPU us per reading", "RSS MB", "peak RSS MB", "bytes per module"):
        shown.add_column(heading, justify="right")
    for kind, runs in (("modules", figures["by_modules"]), ("workers", figures["by_workers"])):
        for count, of in runs.items():
            memory = [f"{of[name] / 1e6:,.0f}" for name in ("rss_bytes", "peak_rss_bytes") if name in of]
            memory += [f"{of['bytes_a_module']:,}"] if "bytes_a_module" in of else []
            pace = f"{of['readings']:,}", f"{of['readings_per_s']:,}", f"{of['cpu_us_a_reading']:.1f}"
            shown.add_row(f"{int(count):,} {kind}", *pace, *memory)
    return shown


def main(
    modules: Annotated[list[int] | None, typer.Option(min=1, help="Modules; repeat for more sizes.")] = None,
    readings: Annotated[int, typer.Option(min=20_000, help="Readings, or four per module if that is more.")] = 300_000,
    as_json: JsonOption = False,
) -> None:
    """Rate, CPU time per reading and memory of one worker, exactly once, by modules; and rate by worker processes.

    By default 64, 1,000, 10,000, 100,000 and 1,000,000 modules. The first reading of each module, which allocates its
    memory, is not counted. Bytes per module: memory above that of the smallest run, per additional module. Exit code
    1 if an output does not hold every reading exactly once.

    Example: python -m benchmarks.scale --modules 64 --modules 100000 --json
    """
    run(partial(measure, sorted(set(modules or MODULES)), readings), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
