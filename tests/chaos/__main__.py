"""Kill, stop, cut off and restart everything, and see whether the output is that of an uninterrupted run.

Example:
    python -m tests.chaos --seconds 50 --seed 7 --json
"""

import json
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Table

from common.errors import DependencyDownError, UserError
from tests.chaos.run import Result, run
from tests.flagship import SHIPPED_MODEL


def main(
    seconds: Annotated[float, typer.Option(min=10, help="Length of the phase in which faults happen.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same faults at the same times, same content.")] = 7,
    model: Annotated[Path, typer.Option(help="Directory of a model package.")] = SHIPPED_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run a three-broker Kafka, a schema registry and workers; do faults; compare with an uninterrupted run.

    Exit code 0 only if nothing is missing, doubled, different or out of order. Else all logs are kept.

    Example: python -m tests.chaos --seconds 50 --seed 7 --json
    """
    # What `timeout` sends must end the workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = Path(tempfile.mkdtemp(prefix="hazardstream-chaos-"))
    events = (directory / "events.log").open("w")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=events))
    console = Console(stderr=True)
    result = None
    try:
        with events, console.status("starting") as status:
            result = run(directory, model, seconds, seed, status.update)
    except (UserError, DependencyDownError, AssertionError) as error:
        console.print(f"the run came to no end: {error}", style="red", markup=False)
    finally:
        if result is not None and result.holds:
            shutil.rmtree(directory)
        else:
            console.print(f"logs, data and events of the run: {directory}", markup=False, soft_wrap=True)
    if result is None:
        raise typer.Exit(1)
    if not result.holds:
        console.print((directory / "examples.txt").read_text(), markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        show(result)
    raise typer.Exit(0 if result.holds else 1)


def show(result: Result) -> None:
    """Print a table to read."""
    table = Table("what", "count", title="Committed output, compared with an uninterrupted run over the same input")
    table.columns[1].justify = "right"
    figures = asdict(result)
    by_kind, recovery_s = figures.pop("faults_by_kind"), figures.pop("recovery_s")
    for kind, count in by_kind.items():
        table.add_row(
            kind.replace("_", " "),
            f"{count} (a partition stood still for {recovery_s[kind]['p50']} s, at most {recovery_s[kind]['max']} s)",
        )
    table.add_section()
    for name, figure in figures.items():
        style = "bold red" if name in Result.MUST_BE_ZERO and figure else None
        table.add_row(name.replace("_", " "), f"{figure:,}", style=style)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
