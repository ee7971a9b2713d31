"""A worker under steady load for a long time, while schema registry and MLflow are killed. Nothing may grow.

Memory, file descriptors and threads of the worker are sampled every few seconds, and the lines of its log are counted.
At the end its output is checked: every reading scored exactly once.

Example:
    python -m benchmarks.soak --minutes 15 --json
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import psutil
import typer
from rich.table import Table

from benchmarks.checking import committed, faults
from benchmarks.harness import Bench, Worker, run
from benchmarks.readings import Readings, Source
from common.cli_options import JsonOption
from common.errors import UserError
from local.audit import read
from local.mlflow_server import mlflow_process
from local.process import Server
from local.registry import registry_server
from schemas.wire import confluent_prefix
from training.registry.register import register_package
from worker.config.pipeline import Pipeline

RATE, MODULES = 5000, 1000
LINES_A_MINUTE = 60
WARM_UP_S = 180.0
"""Not measured, because caches and windows fill, and the allocator grows. In a short run, a fifth of the time."""
_TICK_S = 0.1
_LOOK_EVERY_S = 2.0
_FLAP_EVERY_S = 60.0
_UNKNOWN_EVERY_S = 15.0
_FIRST_UNKNOWN_ID = 1_000_000
_DRAINED_WITHIN_S = 180.0
_SHORTER = 10 - 5  # the prefix of Confluent's wire format, which is written where there is a registry
# Allowed growth between the first and the last quarter of the measured time: absolute, and as a share.
_ALLOWED = {"rss_mb": (16.0, 0.05), "file_descriptors": (4.0, 0.0), "threads": (2.0, 0.0)}


class Look(NamedTuple):
    """A sample of the worker."""

    at_s: float
    rss_mb: float
    file_descriptors: int
    threads: int
    log_lines: int


def measure(minutes: float, rate: int, bench: Bench) -> dict[str, Any]:
    """Run it.

    Raises:
        UserError: something could not be started, or made no progress.
    """
    seconds = minutes * 60
    count = int(seconds * rate)
    pipeline, readings = bench.pipeline("soak"), Readings.until_now(MODULES, count)
    with (
        registry_server(_directory(bench, "registry")) as (registry, registry_url),
        mlflow_process(_directory(bench, "mlflow")) as (mlflow, mlflow_url),
    ):
        name = register_package(bench.directory / "model", tracking_uri=mlflow_url).name
        settings = {"model": f"models:/{name}@champion", "tracking_uri": mlflow_url, "model_watch_ms": "2000"}
        worker = bench.worker(pipeline, registry_url=registry_url, **settings)
        with _ended(worker.server):
            _await(worker, worker.is_ready, "the worker is ready")
            bar = bench.shown("readings", count)
            load = _Load(readings, count, rate, pipeline, bench.bootstrap)
            looks = list(_watch(worker, load, [registry, mlflow], seconds, bar))
            for server in (registry, mlflow):
                if server.process.poll() is not None:
                    server.launch()
            _await(worker, lambda: _scored(worker) >= count and worker.is_ready(), "all readings are scored")
    return _figures(looks, minutes, rate) | {
        "readings": count,
        "unknown_schemas": load.unknown,
        "faults": {"output": _output_faults(readings, count, load.unknown, pipeline, bench.bootstrap)}
        | {"growth": not_flat(looks, _warm_up_s(seconds)), "log": too_talkative(looks)},
    }


def _directory(bench: Bench, name: str) -> Path:
    (made := bench.directory / name).mkdir()
    return made


@contextmanager
def _ended(server: Server) -> Iterator[None]:
    try:
        yield
    finally:
        server.kill()


def _await(worker: Worker, condition: Any, what: str) -> None:
    deadline = time.monotonic() + _DRAINED_WITHIN_S
    while not condition():
        worker.server.check_alive()
        if time.monotonic() > deadline:
            answer = worker.get("/ready")
            raise UserError(f"not within {_DRAINED_WITHIN_S:.0f} s: {what}; /ready: {answer and answer.text}")
        time.sleep(0.5)


def _scored(worker: Worker) -> float:
    return worker.metrics().get("hazardstream_scored_total", 0.0)


class _Load:
    """Sends readings at a steady rate from a thread, and now and then a record with an unknown schema.

    Attributes:
        sent: readings so far.
        unknown: records of unknown schema so far; each makes the worker ask the registry.
        failed: why sending ended, if it did.
    """

    def __init__(self, readings: Readings, count: int, rate: int, pipeline: Pipeline, bootstrap: str) -> None:
        self.sent, self.unknown, self.failed = 0, 0, ""
        self._readings, self._count, self._rate = readings, count, rate
        self._source = Source(readings, pipeline.input.topic, bootstrap)
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether all is sent."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._send()
        except UserError as error:
            self.failed = str(error)

    def _send(self) -> None:
        start, unknown_due = time.monotonic(), _UNKNOWN_EVERY_S / 3
        while self.sent < self._count:
            elapsed = time.monotonic() - start
            due = min(int(elapsed * self._rate), self._count)
            # After a stall it catches up in small steps, so that this process needs little memory.
            due = min(due, self.sent + self._rate)
            self._source.send(self._source.prepared(np.arange(self.sent, due)))
            self.sent = due
            if elapsed >= unknown_due:
                unknown_due += _UNKNOWN_EVERY_S
                prefix = confluent_prefix(_FIRST_UNKNOWN_ID + self.unknown)
                self._source.send([(b"M0000000", prefix + b"\x00", 0)])
                self.unknown += 1
            time.sleep(_TICK_S)
        self._source.flush()


def _watch(worker: Worker, load: _Load, servers: list[Server], seconds: float, tell: Any) -> Iterator[Look]:
    """Sample the worker under load. Each server in turn is down for a third of the time."""
    process = psutil.Process(worker.server.process.pid)
    start, period = time.monotonic(), min(_FLAP_EVERY_S, seconds / 2)
    while not load.over:
        worker.server.check_alive()
        at_s = time.monotonic() - start
        for number, server in enumerate(servers):
            away = (at_s / period + number / len(servers)) % 1.0 > 2 / 3
            if away and server.process.poll() is None:
                server.kill()
            elif not away and server.process.poll() is not None:
                server.launch()
        with process.oneshot():
            rss_mb = process.memory_info().rss / 1e6
            yield Look(at_s, rss_mb, process.num_fds(), process.num_threads(), _lines(worker.server.log))
        tell(load.sent)
        time.sleep(_LOOK_EVERY_S)
    if load.failed:
        raise UserError(load.failed)


def _lines(log: Path) -> int:
    with suppress(FileNotFoundError), log.open("rb") as file:
        return sum(1 for _ in file)
    return 0


def _warm_up_s(seconds: float) -> float:
    return min(WARM_UP_S, seconds / 5)


def not_flat(looks: list[Look], warm_up_s: float) -> list[str]:
    """What has grown, as text: the medians of the first and the last quarter after the warm-up are compared.

    Args:
        looks: the samples in the order of time.
        warm_up_s: left out at the beginning.
    """
    settled = [look for look in looks if look.at_s >= warm_up_s]
    if len(settled) < 4:
        return ["there are too few samples; run it for longer"]
    quarter = len(settled) // 4
    found = []
    for name, (least, part) in _ALLOWED.items():
        values = [float(getattr(look, name)) for look in settled]
        before, after = float(np.median(values[:quarter])), float(np.median(values[-quarter:]))
        allowed = max(least, part * before)
        if after - before > allowed:
            found.append(f"{name} grew from {before:.1f} to {after:.1f}; at most {allowed:.1f} is allowed")
    return found


def most_lines_a_minute(looks: list[Look]) -> int:
    """The most lines logged within one minute after the first sample."""
    return max(
        (later.log_lines - look.log_lines for look in looks for later in looks if 0 <= later.at_s - look.at_s <= 60.0),
        default=0,
    )


def too_talkative(looks: list[Look]) -> list[str]:
    """A fault if the log has more lines per minute than allowed."""
    most = most_lines_a_minute(looks)
    return [f"{most} log lines within a minute; at most {LINES_A_MINUTE} are allowed"] if most > LINES_A_MINUTE else []


def _output_faults(readings: Readings, count: int, unknown: int, pipeline: Pipeline, bootstrap: str) -> list[str]:
    dead = sum(1 for _ in read(pipeline.outputs.dead_letters.topic, bootstrap))
    found = [f"{dead} dead letters, for {unknown} records of unknown schema"] if dead != unknown else []
    topic = pipeline.outputs.predictions.topic
    return found + faults(committed(readings, topic, bootstrap, shorter=_SHORTER), count)


def _figures(looks: list[Look], minutes: float, rate: int) -> dict[str, Any]:
    settled = [look for look in looks if look.at_s >= _warm_up_s(minutes * 60)] or looks
    figures: dict[str, Any] = {"minutes": minutes, "rate": rate, "looks": len(looks)}
    for name in _ALLOWED:
        values = [float(getattr(look, name)) for look in settled]
        quarter = max(len(values) // 4, 1)
        figures[name] = {
            "first_quarter": round(float(np.median(values[:quarter])), 1),
            "last_quarter": round(float(np.median(values[-quarter:])), 1),
            "most": round(max(values), 1),
        }
    by_minute = {int(look.at_s // 60): round(look.rss_mb, 1) for look in looks}
    return figures | {
        "rss_mb_by_minute": list(by_minute.values()),
        "most_log_lines_a_minute": most_lines_a_minute(looks),
    }


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    title = f"{figures['minutes']:g} minutes at {figures['rate']:,} readings/s, {figures['cpus']} CPUs"
    shown = Table("of the worker", title=title, title_justify="left")
    for column in ("first quarter", "last quarter", "most"):
        shown.add_column(column, justify="right")
    for name in _ALLOWED:
        shown.add_row(name, *(f"{figures[name][k]:,.1f}" for k in ("first_quarter", "last_quarter", "most")))
    shown.add_row("log lines per minute", "", "", str(figures["most_log_lines_a_minute"]))
    return shown


def main(
    minutes: Annotated[float, typer.Option(min=0.3, help="How long to send readings.")] = 15.0,
    rate: Annotated[int, typer.Option(min=100, help="Readings per second.")] = RATE,
    as_json: JsonOption = False,
) -> None:
    """One worker for a long time, while schema registry and MLflow are killed and restarted in turn.

    Exit code 1 if memory, file descriptors or threads grow after the first three minutes, if there are more than 60 log
    lines within a minute, or if the output does not hold every reading exactly once.

    Example: python -m benchmarks.soak --minutes 15 --json
    """
    run(partial(measure, minutes, rate), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
