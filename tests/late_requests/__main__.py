"""Have the broker get requests of a transaction late, and see whether the output is that of an uninterrupted run.

Example:
    python -m tests.late_requests --seed 7 --json
"""

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.errors import DependencyDownError, UserError
from tests.late_requests.run import MUST_BE_ZERO, Result, run_all
from tests.late_requests.schedules import LEAST, schedules


def main(
    seed: Annotated[int, typer.Option(min=0, help="Which transactions are hit, and what the readings are.")] = 7,
    only: Annotated[str, typer.Option(help="Only schedules with this in their name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run every schedule against a real broker, and compare each output with an uninterrupted run.

    Exit code 0 only if at least 12 schedules ran, each did what it says, and nothing is missing, doubled or different.

    Example: python -m tests.late_requests --seed 7 --json
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = [each for each in schedules(seed) if only in each.name]
    directory = Path(tempfile.mkdtemp(prefix="hazardstream-late-"))
    console = Console(stderr=True)
    results: list[Result] = []
    try:
        results = run_all(
            directory, chosen, seed, lambda done: console.print(done.line(), markup=False, highlight=False)
        )
    except (UserError, DependencyDownError, AssertionError) as error:
        console.print(f"the run did not finish: {error}", style="red", markup=False)
    totals = {fault: sum(result.faults[fault] for result in results) for fault in MUST_BE_ZERO}
    holds = len(results) == len(chosen) >= LEAST and not any(totals.values())
    if holds:
        shutil.rmtree(directory)
    else:
        console.print(f"logs and data of the run: {directory}", markup=False, soft_wrap=True)
    if as_json:
        by_schedule = [{"name": r.schedule.name} | r.faults | {"seconds": r.seconds} | r.notes for r in results]
        typer.echo(json.dumps({"seed": seed, "schedules": len(results)} | totals | {"by_schedule": by_schedule}))
    else:
        show(results, totals)
    raise typer.Exit(0 if holds else 1)


def show(results: list[Result], totals: dict[str, int]) -> None:
    """Print a table to read."""
    table = Table("schedule", "seconds", "renewals", "restarts", "faults", title="Late requests")
    for result in results:
        wrong = ", ".join(f"{name} {count}" for name, count in result.faults.items() if count)
        notes = result.notes
        table.add_row(
            result.schedule.name, str(result.seconds), str(notes["renewals"]), str(notes["restarts"]), wrong or "none"
        )
    Console().print(table)
    Console().print(f"{len(results)} schedules; " + ", ".join(f"{name} {count}" for name, count in totals.items()))


if __name__ == "__main__":
    typer.run(main)
