"""`python -m tests.fuzz`: malformed payloads by the million through decode and validation."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.fuzz.run import Account, run


def main(
    payloads: Annotated[int | None, typer.Option(min=1, help="Stop after this number.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and number of payloads make the same run.")] = 1,
    limit_s: Annotated[float, typer.Option(help="Processor time a batch may take to decode.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Decode and validate malformed payloads, compared value by value with fastavro and the Pydantic model.

    Example: python -m tests.fuzz --payloads 1000000 --seed 1 --json
    """
    bounds = {name: value for name, value in (("payloads", payloads), ("seconds", seconds)) if value is not None}
    if not bounds:
        bounds = {"seconds": 10.0}
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting")

        def show(account: Account) -> None:
            bar.update(task, description=f"{account.payloads} payloads, {account.accepted} accepted")

        account = run(seed, **bounds, limit_s=limit_s, progress=show)
    figures = {"seed": seed, "differences": 0} | account.figures()
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}
    if as_json:
        typer.echo(json.dumps(rounded))
        return
    for name, value in rounded.items():
        typer.echo(f"{name:24} {value}")


if __name__ == "__main__":
    typer.run(main)
