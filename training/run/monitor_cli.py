"""The command `monitor` of each pipeline with a recipe."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import BootstrapOption, RegistryOption, TrackingUriOption
from common.errors import UserError
from common.extras import require_extras
from common.terminal import say
from common.text import shown

if TYPE_CHECKING:
    from training.fitting.recipe import Recipe
    from worker.config.settings import Settings

RecentOption = Annotated[
    Path | None, typer.Option(help="CSV file of recent rows. Default: the newest records of the input topic.")
]
LastOption = Annotated[int, typer.Option(min=100, help="Number of records of the input topic to read.")]
ReportOption = Annotated[Path, typer.Option(help="Directory for drift.png and drift.json.")]
RetrainOption = Annotated[
    bool, typer.Option("--retrain", help="Train again on the rows of --recent, if there is a reason to.")
]
DataOption = Annotated[Path | None, typer.Option(help="File of the rows of the training. Default: as for `train`.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of generated rows, and of a new training.")]


def add_monitor(group: typer.Typer, name: str, load: Callable[[], "Recipe"]) -> None:
    """Add the command to the group of a pipeline.

    Args:
        group: of the pipeline's commands.
        name: of the pipeline.
        load: imports the recipe, which takes seconds.
    """

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
    require_extras("training")
    from training.datasets.source import digest, given_rows
    from training.monitoring.rows.recent import recent_rows
    from training.run.monitor import monitor_rows
    from training.run.train import role, train

    recipe = load()
    rows = recipe.rows(data, seed)
    if recent is not None:
        now = given_rows(recent).frame
    else:
        from worker.config.pipeline import load_pipeline

        now = recent_rows(settings, load_pipeline(settings.pipeline), last)
    found = monitor_rows(recipe, rows.frame, now, report, tracking_uri=settings.tracking_uri)
    for reason in found.reasons or ("no reason to train again",):
        say(reason)
    say(f"report: {report}/drift.png, {report}/drift.json")
    if found.retrain and not retrain:
        raise typer.Exit(1)
    if found.retrain and recent is not None and recipe.target in now.columns:
        again = replace(rows, frame=now, origin=f"the file {shown(recent)}", sha256=digest(now))
        trained = train(recipe, again, seed=seed, tracking_uri=settings.tracking_uri)
        say(f"trained again: version {trained.logged.version} is {role(trained.promotion.promoted)}")
    elif found.retrain:
        raise UserError(f"--retrain needs rows with their truth: give --recent with a file that has {recipe.target}")
