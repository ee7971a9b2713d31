"""The commands that each pipeline with a recipe has: train, promote, return to the last good version, monitor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from common.cli_options import (
    MODELS,
    BootstrapOption,
    JsonOption,
    RegistryOption,
    TrackingUriOption,
    training_packages,
)
from common.errors import UserError
from common.json_text import strict_json
from common.progress import progress_bar
from common.terminal import say, terminal
from common.text import shown

if TYPE_CHECKING:
    from training.fitting.recipe import Recipe
    from worker.config.settings import Settings

DataOption = Annotated[Path | None, typer.Option(help="File with rows of your own, in the form of the published ones.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and rows give the same model.")]
RecentOption = Annotated[
    Path | None, typer.Option(help="CSV file of recent rows. Default: the newest records of the input topic.")
]
LastOption = Annotated[int, typer.Option(min=100, help="Number of records of the input topic to read.")]
ReportOption = Annotated[Path, typer.Option(help="Directory for drift.png and drift.json.")]
RetrainOption = Annotated[
    bool, typer.Option("--retrain", help="Train again on the rows of --recent, if there is a reason to.")
]
TriesOption = Annotated[
    int | None, typer.Option(min=1, help="Parameter sets to try for each candidate. Default: as the recipe says.")
]


def add_commands(app: typer.Typer, name: str, load: Callable[[], "Recipe"]) -> typer.Typer:
    """Add the command group of a pipeline, named after it, to the program.

    Args:
        app: the program.
        name: of the pipeline.
        load: imports the recipe, which takes seconds.

    Returns:
        The group, for commands that only this pipeline has.
    """
    group = typer.Typer(help=f"Train and serve the pipeline {name}.", no_args_is_help=True)
    app.add_typer(group, name=name, rich_help_panel=MODELS)

    @group.command()
    def train(
        *,
        data: DataOption = None,
        seed: SeedOption = 0,
        tries: TriesOption = None,
        tracking_uri: TrackingUriOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Compare and tune models, register the best in MLflow, and make it champion if it beats the champion."""
        _train(load, data, seed, tries, tracking_uri, as_json=as_json)

    @group.command()
    def promote(
        version: Annotated[str, typer.Argument(help="Version of the model in MLflow.")],
        tracking_uri: TrackingUriOption = None,
    ) -> None:
        """Make a version the champion, whatever its metrics. Running workers follow; `fallback` undoes it."""
        from training.promotion.by_metric import promote as move

        move(name, version, tracking_uri=tracking_uri)
        say(f"{name}: champion is version {version}")

    @group.command()
    def fallback(*, tracking_uri: TrackingUriOption = None, as_json: JsonOption = False) -> None:
        """Make the version before the champion the champion again. Running workers follow."""
        from training.promotion.by_metric import fall_back

        left, now = fall_back(name, tracking_uri=tracking_uri)
        say(
            strict_json({"left": left, "champion": now})
            if as_json
            else f"{name}: champion is version {now}, not {left}"
        )

    @group.command()
    def monitor(
        *,
        data: DataOption = None,
        seed: SeedOption = 0,
        recent: RecentOption = None,
        last: LastOption = 5000,
        report: ReportOption = Path("drift-report"),
        retrain: RetrainOption = False,
        bootstrap: BootstrapOption = None,
        registry: RegistryOption = None,
        tracking_uri: TrackingUriOption = None,
    ) -> None:
        """Compare recent rows with those of the training, and write a report as a picture and JSON.

        Exits with 1 where there is a reason to train again and --retrain is not given.
        """
        from worker.config.settings import load_settings

        settings = load_settings(
            pipeline=name, bootstrap_servers=bootstrap, registry_url=registry, tracking_uri=tracking_uri
        )
        _monitor(load, settings, data, seed, recent, last, report, retrain=retrain)

    return group


def _monitor(
    load: "Callable[[], Recipe]",
    settings: "Settings",
    data: Path | None,
    seed: int,
    recent: Path | None,
    last: int,
    report: Path,
    *,
    retrain: bool,
) -> None:
    with training_packages():
        import pandas as pd

        from training.datasets.source import digest
        from training.monitoring.rows.recent import recent_rows
        from training.run.monitor import monitor_rows
        from training.run.train import train

        recipe = load()
    rows = recipe.rows(data, seed)
    if recent is not None:
        now = pd.read_csv(recent)
    else:
        from worker.config.pipeline import load_pipeline

        now = recent_rows(settings, load_pipeline(settings.pipeline), last)
    found = monitor_rows(recipe, rows.frame, now, report, seed=seed, tracking_uri=settings.tracking_uri)
    for reason in found.reasons or ("no reason to train again",):
        say(reason)
    say(f"report: {report}/drift.png, {report}/drift.json")
    if found.retrain and not retrain:
        raise typer.Exit(1)
    if found.retrain and recent is not None and recipe.target in now.columns:
        again = replace(rows, frame=now, origin=f"the file {shown(recent)}", sha256=digest(now))
        trained = train(recipe, again, seed=seed, tracking_uri=settings.tracking_uri)
        say(f"trained again: version {trained.logged.version} is {_role(trained.promotion.promoted)}")
    elif found.retrain:
        raise UserError(f"--retrain needs rows with their truth: give --recent with a file that has {recipe.target}")


def _role(promoted: bool) -> str:
    return "champion" if promoted else "challenger: the champion is better"


def _train(
    load: "Callable[[], Recipe]",
    data: Path | None,
    seed: int,
    tries: int | None,
    tracking_uri: str | None,
    *,
    as_json: bool,
) -> None:
    with training_packages():
        from training.run.train import table
        from training.run.train import train as run

        recipe = load()
    rows = recipe.rows(data, seed)
    say(f"rows: {len(rows.frame):,} from {rows.origin}", err=True)
    with progress_bar(as_json) as bar:
        task = bar.add_task("", total=len(recipe.candidates), label="comparing")
        trained = run(
            recipe,
            rows,
            seed=seed,
            tries=tries,
            tracking_uri=tracking_uri,
            progress=lambda stage, done, total: bar.update(task, completed=done, total=total, label=stage),
        )
    if as_json:
        say(strict_json(trained.as_json()))
        return
    shown = Table("model", "cross-validation", "test rows", "", title=recipe.name)
    for row in table(recipe, trained.comparison):
        shown.add_row(*row)
    terminal().print(shown)
    role = _role(trained.promotion.promoted)
    say(f"{recipe.name} version {trained.logged.version} is {role} ({trained.logged.tracking_uri})")
