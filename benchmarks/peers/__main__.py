"""Compares the worker with its peers: the same job, each written as its documentation recommends, on one real Kafka.

Example:
    python -m benchmarks.peers --json
"""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from benchmarks.harness import PARTITIONS
from benchmarks.peers.bench import Result, bench, peer_result, worker_result
from benchmarks.peers.catalogue import JVM, PEERS
from benchmarks.peers.environments import version
from benchmarks.throughput import MODULES
from common.cli_options import JsonOption
from common.errors import UserError
from common.terminal import say, terminal

Outcome = Result | str
"""A result, or why it is missing."""


def measure(directory: Path, readings: int, names: list[str], console: Console) -> tuple[Result, dict[str, Outcome]]:
    """Measure the worker, then each peer.

    Raises:
        UserError: the broker or the worker failed. If a peer fails, its outcome says so.
    """
    columns = TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress, bench(directory, readings, progress) as shared:
        ours = worker_result(shared)
        outcomes: dict[str, Outcome] = {}
        for name in names:
            try:
                outcomes[name] = peer_result(shared, name, PEERS[name])
            except UserError as error:
                outcomes[name] = str(error)
        return ours, outcomes


def ratios(ours: Result, outcomes: dict[str, Outcome]) -> dict[str, float]:
    """Our throughput divided by that of a peer: of each, and of the fastest on each side."""
    pace = {name: result.pace.per_s for name, result in outcomes.items() if isinstance(result, Result)}
    best = {
        "fastest_python_peer": max((pace[name] for name in pace.keys() - JVM), default=None),
        "fastest_jvm_peer": max((pace[name] for name in pace.keys() & JVM), default=None),
    }
    return {f"worker/{name}": round(ours.pace.per_s / each, 2) for name, each in {**pace, **best}.items() if each}


def table(ours: Result, outcomes: dict[str, Outcome], readings: int) -> Table:
    """The result as a table."""
    title = f"{readings:,} readings of {MODULES:,} modules, {PARTITIONS} partitions, {os.cpu_count()} CPUs"
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for heading in ("version", "predictions/s", "ours is", "per CPU s", "checked"):
        shown.add_column(heading, justify="right")
    for heading in ("each reading", "gives up, or why not measured"):
        shown.add_column(heading)
    shown.add_row("hazardstream worker", "", f"{ours.pace.per_s:,.0f}", "", *_checked(ours), "exactly once", "")
    for name, outcome in outcomes.items():
        peer = PEERS[name]
        release = version(peer.requirements, peer.package)
        if isinstance(outcome, str):
            shown.add_row(
                peer.title, release, "not measured", "", "", "", peer.guarantee, Text(_reason(outcome), "red")
            )
        else:
            pace = outcome.pace.per_s
            times = f"{ours.pace.per_s / pace:.1f} x"
            cells = f"{pace:,.0f}", times, *_checked(outcome)
            shown.add_row(peer.title, release, *cells, peer.guarantee, peer.gives_up)
    return shown


def _reason(outcome: str) -> str:
    """The first line and the last one with content. The log of a peer is between them; the JSON has all of it."""
    lines = [line.strip() for line in outcome.splitlines() if any(map(str.isalnum, line))]
    return lines[0][:200] + (f" … {lines[-1][-200:]}" if len(lines) > 1 else "")


def _checked(result: Result) -> tuple[str, Text]:
    if result.faults:
        return f"{result.pace.per_cpu_s:,.0f}", Text("; ".join(result.faults), "red")
    off = f", {result.off} off" if result.off else ""
    return f"{result.pace.per_cpu_s:,.0f}", Text(f"{result.predictions:,}{off}")


def as_dict(ours: Result, outcomes: dict[str, Outcome], readings: int) -> dict[str, Any]:
    """The result as JSON."""
    peers = {}
    for name, outcome in outcomes.items():
        peer = PEERS[name]
        facts = {
            "version": version(peer.requirements, peer.package),
            "guarantee": peer.guarantee,
            "gives_up": peer.gives_up,
        }
        peers[name] = facts | ({"not_measured": outcome} if isinstance(outcome, str) else asdict(outcome))
    shared = {"readings": readings, "modules": MODULES, "partitions": PARTITIONS, "cpus": os.cpu_count()}
    return shared | {"worker": asdict(ours), "peers": peers, "ratios": ratios(ours, outcomes)}


def main(
    readings: Annotated[int, typer.Option(min=20_000, help="Readings on the topic.")] = 400_000,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Measure only this peer; repeat for more: {', '.join(PEERS)}.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predictions per second of the worker, exactly once, and of its peers, on a local broker.

    Each peer has its own environment, which is made at first use (some minutes, 2.5 GB) and kept in the user's cache. A
    peer that cannot run here is listed as not measured, with the reason. Exit code 1 if a prediction is wrong.

    Example: python -m benchmarks.peers --only quix --only flink --json
    """
    console = terminal(stderr=as_json, width=None if os.isatty(1) else 180)
    names = only or list(PEERS)
    if unknown := set(names) - PEERS.keys():
        raise typer.BadParameter(f"--only {', '.join(sorted(unknown))}: unknown; use one of {', '.join(PEERS)}")
    try:
        with tempfile.TemporaryDirectory(prefix="hazardstream-peers-") as directory:
            ours, outcomes = measure(Path(directory), readings, names, console)
    except UserError as error:
        terminal(stderr=True).print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error
    console.print(table(ours, outcomes, readings))
    if as_json:
        say(json.dumps(as_dict(ours, outcomes, readings)))
    if ours.faults or any(isinstance(each, Result) and each.faults for each in outcomes.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
