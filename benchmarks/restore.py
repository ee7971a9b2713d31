"""Time from a kill until scoring continues: a successor rebuilds the windows from the log.

The model comes from an MLflow registry and is in the successor's cache, as in operation.

Example:
    python -m benchmarks.restore --modules 1000 --json
"""

import json
import time
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.checking import output_faults
from benchmarks.harness import Bench, Worker, run
from benchmarks.readings import PERIOD_MS, Readings, Tell, publish
from common.cli_options import JsonOption
from common.errors import UserError
from local.mlflow_server import mlflow_server
from local.process import stop
from training.registry.register import register_package
from worker.windows.keyed_state import REBUILD_SPANS

MODULES = (64, 1000, 5000)
_FEW, _FEW_STEPS = 64, 10
_PATIENCE_S = 300.0
_NAME = "w1"  # The successor has the same name, so it takes over at once and does not wait for the session timeout.


def measure(modules: list[int], bench: Bench) -> dict[str, Any]:
    """Measure a start with almost nothing to rebuild, then takeovers with full windows.

    Raises:
        UserError: something could not be started, or made no progress.
    """
    model = bench.directory / "model"
    steps = REBUILD_SPANS * bench.package().spec.max_span_ms // PERIOD_MS + 30
    takeovers, faults = {}, {}
    with mlflow_server(bench.directory / "mlflow") as tracking_uri:
        uri = f"models:/{register_package(model, tracking_uri=tracking_uri).name}@champion"
        settings = {"model": uri, "tracking_uri": tracking_uri, "instance_id": _NAME}
        plain, faults["start"] = _takeover(bench, "start", _FEW, _FEW_STEPS, settings)
        for count in modules:
            name = f"{count} modules"
            takeovers[count], faults[name] = _takeover(bench, f"takeover_{count}", count, steps, settings)
    return {"start": plain, "takeover": takeovers, "faults": faults}


def _takeover(
    bench: Bench, name: str, modules: int, steps: int, settings: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    pipeline, before, count = bench.pipeline(name), modules * steps, modules * (steps + 1)
    readings, topic = Readings.until_now(modules, count), pipeline.input.topic
    publish(readings, range(before), topic, bench.bootstrap)
    first = bench.worker(pipeline, **settings)
    try:
        _await_scored(first, before, bench.shown(f"{modules:,} modules: score", before))
        first.server.kill()
        # Arrives while no worker runs.
        publish(readings, range(before, count), topic, bench.bootstrap)
    finally:
        stop([first.server])
    started_s = time.time()
    successor = bench.worker(pipeline, **settings)
    try:
        _await_scored(successor, modules, bench.shown(f"{modules:,} modules: take over", modules))
        figures = _figures(successor, started_s)
    finally:
        stop([successor.server])
    return {"readings": before} | figures, output_faults(readings, count, pipeline, bench.bootstrap)


def _await_scored(worker: Worker, count: int, tell: Tell) -> None:
    """Wait until it has scored and committed this number of readings.

    Raises:
        UserError: the worker has ended, or it takes too long.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while (scored := int(worker.metrics().get("hazardstream_scored_total", 0))) < count:
        tell(scored)
        if time.monotonic() > deadline:
            raise UserError(
                f"{worker.server.name} has scored {scored} of {count} readings after {_PATIENCE_S:.0f} s; "
                f"{worker.server.log_tail()}"
            )
        time.sleep(0.1)
    tell(scored)


def _figures(worker: Worker, started_s: float) -> dict[str, Any]:
    """Times of a start by its metrics and log, in s from the start of the process."""
    metrics, at_s = worker.metrics(), _logged_at_s(worker, started_s)
    first_commit_s = metrics["hazardstream_start_to_first_commit_seconds"]
    join_s = at_s["partition assigned"] - at_s["joining the group"]
    return {
        "first_commit_s": round(first_commit_s, 2),
        "until_joining_s": round(at_s["joining the group"], 2),
        "group_join_s": round(join_s, 2),
        "first_commit_less_join_s": round(first_commit_s - join_s, 2),
        "restored_readings": int(metrics["hazardstream_restored_readings_total"]),
    }


def _logged_at_s(worker: Worker, started_s: float) -> dict[str, float]:
    """When each event first appears in its log, s from the start."""
    at_s: dict[str, float] = {}
    for line in worker.server.log.read_text().splitlines():
        if line.startswith("{"):
            fields = json.loads(line)
            at_s.setdefault(fields["event"], datetime.fromisoformat(fields["timestamp"]).timestamp() - started_s)
    return at_s


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    shown = Table("successor of a killed worker", title=f"{figures['cpus']} CPUs", title_justify="left")
    names = ("restored_readings", "until_joining_s", "group_join_s", "first_commit_s", "first_commit_less_join_s")
    for name in names:
        shown.add_column(name.replace("_", " "), justify="right")
    runs = {f"{int(count):,} modules": of for count, of in figures["takeover"].items()}
    for name, of in ({f"almost empty log, {_FEW} modules": figures["start"]} | runs).items():
        shown.add_row(name, *(f"{of[each]:,}" for each in names))
    return shown


def main(
    modules: Annotated[list[int] | None, typer.Option(min=1, help="Modules; repeat for more sizes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Time from the start of a killed worker's successor to its first commit, with full windows to replay.

    A module sends a reading every 10 s of event time, so a full horizon has 180 readings per module. By default 64,
    1,000 and 5,000 modules. Exit code 1 if an output does not hold every reading exactly once.

    Example: python -m benchmarks.restore --modules 1000 --json
    """
    run(partial(measure, sorted(set(modules or MODULES))), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
