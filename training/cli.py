"""The command that trains."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    *,
    small: Annotated[
        bool, typer.Option("--small", help="A small model from few fleets, in seconds: for a demo.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same model, bit for bit.")] = 0,
    name: Annotated[str, typer.Option(help="Name to register the model under.")] = "battery_hazard",
    output: Annotated[
        Path | None, typer.Option(help="Only write the package, to this new directory; register nothing.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Alias that is moved to the new version.")] = "champion",
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow server or store. Default: MLFLOW_TRACKING_URI, or one in the user's data directory."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, the last line.")
    ] = False,
) -> None:
    """Train the battery hazard model on simulated fleets and register it in MLflow.

    Example: hazardstream train --small
    """
    try:
        from training.register import train_and_register
        from training.train import DEFAULT, SMALL
        from training.train import train as train_to
    except ModuleNotFoundError as error:
        raise UserError(f"{error}; training needs more packages: pip install 'hazardstream[training]'") from error

    started = time.monotonic()
    result: dict[str, Any]
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=as_json,
    ) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        if output is None:
            registered = train_and_register(
                small=small, seed=seed, name=name, alias=alias, tracking_uri=tracking_uri, progress=show
            )
            result = asdict(registered)
        else:
            preset = SMALL if small else DEFAULT
            train_to(output, preset=preset, seed=seed, name=name, progress=show)
            result = {"name": name, "output": str(output), "metrics": json.loads((output / "metrics.json").read_text())}
    result["seconds"] = round(time.monotonic() - started, 1)
    typer.echo(json.dumps(result) if as_json else _words(result))


def _words(result: dict[str, Any]) -> str:
    test = result["metrics"]["test"]
    if "version" in result:
        where = f"version {result['version']}, alias {result['alias']}, in {result['tracking_uri']}"
    else:
        where = f"package in {result['output']}"
    return (
        f"{result['name']}: {where} ({result['seconds']} s)\n"
        f"test fleets: {test['events_detected']} of {test['events']} events detected, "
        f"warning {test['lead_time_median_s'] / 60:.1f} min (median), {test['lead_time_p10_s'] / 60:.1f} min (p10); "
        f"{test['false_alarms']} false alarms in {test['module_days']} module-days"
    )
