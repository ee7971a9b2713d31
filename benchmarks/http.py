"""Scoring over HTTP: latency of single rows at a fixed rate, of 1,000 rows in one request, and hostile requests.

Latency counts from the time at which a request was due, so a stall adds to the latency of every request behind it. The
client is a separate process from the server; both run on this machine. `client_late` says how punctual it was, and
`server_cpu_ms` is the server's processor time for a request with one row.

Example:
    python -m benchmarks.http --json
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import psutil
import typer
from rich.table import Table

from benchmarks.hostile_requests import hostile_requests
from benchmarks.model import write_model
from common.cli_options import JsonOption
from common.json_text import strict_json
from common.terminal import say, terminal
from local.flagship import FLAGSHIP
from local.process import Server, answers, start, stop
from worker.config.pipeline import load_pipeline
from worker.model.package import load_package

_CONNECTIONS, _BATCH, _BATCHES, _LEAD_S = 16, 1000, 50, 2
_JSON = {"Content-Type": "application/json"}
_START_S = 60.0
BARS_MS = {"single_p50": 5.0, "single_p99": 50.0, "batch_p50": 50.0}


@contextmanager
def serving(directory: Path, model: Path) -> Iterator[tuple[Server, int]]:
    """A running `hazardstream serve` and its port."""
    command = [
        sys.executable,
        "-m",
        "hazardstream",
        "serve",
        "--pipeline",
        FLAGSHIP,
        "--model",
        str(model),
        "--port",
        "0",
    ]
    server = start("serve", command, directory / "serve.log")
    try:
        deadline = time.monotonic() + _START_S
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", server.log.read_text())) or not answers(
            f"{found[0]}/ready"
        ):
            server.check_alive()
            if time.monotonic() > deadline:
                raise typer.BadParameter(f"serve is not ready after {_START_S:.0f} s; {server.log_tail()}")
            time.sleep(0.05)
        yield server, int(found[1])
    finally:
        stop([server])


class AtRate(NamedTuple):
    """Requests that were sent at a fixed rate, without the first seconds, ms each.

    Attributes:
        latency: from when a request was due to the end of its response.
        late: how long after that the client had time for it. Much: the client is too slow, or the machine busy.
    """

    latency: list[float]
    late: list[float]


async def at_rate(port: int, body: bytes, rate: int, seconds: float) -> AtRate:
    """Send a request when it is due, whether those before it are answered or not."""
    due: asyncio.Queue[float | None] = asyncio.Queue()
    found, late = list[float](), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        headers = ["POST /v1/predict HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        head = "\r\n".join([*headers, f"Content-Length: {len(body)}", "", ""])
        while (at := await due.get()) is not None:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer)
            await reader.readexactly(int(length[1]) if length else 0)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise typer.BadParameter(f"a request was not answered: {answer[:200]!r}")
            found.append((time.perf_counter() - at) * 1000)
        writer.close()

    async def clock() -> None:
        begun = time.perf_counter()
        for n in range(round(rate * (seconds + _LEAD_S))):
            await asyncio.sleep(begun + n / rate - time.perf_counter())
            late.append((time.perf_counter() - begun - n / rate) * 1000)
            due.put_nowait(begun + n / rate)
        for _ in range(_CONNECTIONS):
            due.put_nowait(None)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clock())
        for _ in range(_CONNECTIONS):
            tasks.create_task(connection())
    return AtRate(found[rate * _LEAD_S :], late[rate * _LEAD_S :])


def batches(port: int, body: bytes) -> list[float]:
    """Time of each request with many rows, ms."""
    connection, found = HTTPConnection("127.0.0.1", port, timeout=30), []
    for _ in range(_BATCHES):
        started = time.perf_counter()
        connection.request("POST", "/v1/predict", body, _JSON)
        answer = connection.getresponse()
        answer.read()
        found.append((time.perf_counter() - started) * 1000)
    connection.close()
    return found


def hostile(port: int, count: int) -> dict[str, int]:
    """How many hostile requests got each status; `closed`: the server ended the connection."""
    found: Counter[str] = Counter()
    for request in hostile_requests(1, count):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.putrequest(request.method, request.path, skip_accept_encoding=True)
            for name, value in request.raw_headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            found[str(connection.getresponse().status)] += 1
        except (HTTPException, ConnectionError):
            found["closed"] += 1
        finally:
            connection.close()
    return dict(sorted(found.items()))


def bodies() -> tuple[bytes, bytes]:
    """A request with one reading, and one with 1,000 rows of as many modules."""
    now = time.time_ns() // 1_000_000
    values = dict.fromkeys(load_pipeline(FLAGSHIP).input.sensors(), 20)
    many = [{"module_id": f"M{n}", "rack_id": "R1", "ts": now - 1000, **values} for n in range(_BATCH)]
    return json.dumps({"readings": many[:1]}).encode(), json.dumps({"readings": many}).encode()


def measure(rate: int, seconds: float, hostile_count: int) -> dict[str, Any]:
    """Measure on a server with the benchmarks' model, of 200 trees."""
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "model"
        write_model(model, load_pipeline(FLAGSHIP))
        load_package(model, version="1")
        one, many = bodies()
        with serving(Path(directory), model) as (server, port):
            cpu = psutil.Process(server.process.pid).cpu_times
            before = cpu()
            single = asyncio.run(at_rate(port, one, rate, seconds))
            after = cpu()
            batch = batches(port, many)
            statuses = hostile(port, hostile_count)
            server.check_alive()
    cpu_s = after.user + after.system - before.user - before.system
    times = {"single": single.latency, "client_late": single.late, "batch": batch}
    found = {
        f"{name}_p{percent}": round(float(np.percentile(ms, percent)), 2)
        for name, ms in times.items()
        for percent in (50, 99)
    }
    return {
        "rate": rate,
        "seconds": seconds,
        "cpus": os.cpu_count(),
        **found,
        "server_cpu_ms": round(cpu_s / (rate * (seconds + _LEAD_S)) * 1000, 2),
        "bars_met": all(found[name] < bar for name, bar in BARS_MS.items()),
        "hostile": statuses,
        "errors_500": statuses.get("500", 0),
    }


def main(
    rate: Annotated[int, typer.Option(min=1, help="Requests per second with one row each.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, help="How long to send them.")] = 30,
    hostile_count: Annotated[int, typer.Option("--hostile", min=0, help="Number of hostile requests.")] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Latency of scoring over HTTP, and how it answers hostile requests. Exit code 1 if a request got a 500.

    Example: python -m benchmarks.http --seconds 10 --hostile 1000 --json
    """
    figures = measure(rate, seconds, hostile_count)
    table = Table("requests", "p50 ms", "p99 ms", title=f"{rate} requests/s with one row, {figures['cpus']} CPUs")
    table.add_row("one row", str(figures["single_p50"]), str(figures["single_p99"]))
    table.add_row("client late by", str(figures["client_late_p50"]), str(figures["client_late_p99"]))
    table.add_row(f"{_BATCH} rows", str(figures["batch_p50"]), str(figures["batch_p99"]))
    terminal(stderr=as_json).print(table)
    if as_json:
        say(strict_json(figures))
    else:
        say(f"hostile requests by status: {figures['hostile']}")
    if figures["errors_500"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
