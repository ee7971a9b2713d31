"""The commands that each pipeline with a recipe has: train, promote, return to the last good version, monitor."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from common.cli_options import MODELS, JsonOption, TrackingUriOption
from common.extras import require_extras
from common.json_text import strict_json
from common.progress import progress_bar
from common.terminal import say, terminal
from training.run.monitor_cli import add_monitor

if TYPE_CHECKING:
    from training.fitting.recipe import Recipe

DataOption = Annotated[Path | None, typer.Option(help="File with rows of your own, in the form of the published ones.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and rows give the same model.")]
TriesOption = Annotated[
    int | None, typer.Option(min=1, help="Parameter sets to try for each candidate. Default: as the recipe says.")
]


def add_commands(app: typer.Typer, name: str, load: Callable[[], "Recipe"]) -> None:
    """Add the command group of a pipeline, named after it, to the program.

    Args:
        app: the program.
        name: of the pipeline.
        load: imports the recipe, which takes seconds.
    """
    group = typer.Typer(help=f"Train, promote and monitor models of the pipeline {name}.", no_args_is_help=True)
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
        require_extras("training")
        from training.promotion.by_metric import promote as move

        move(name, version, tracking_uri=tracking_uri)
        say(f"{name}: champion is version {version}")

    @group.command()
    def fallback(*, tracking_uri: TrackingUriOption = None, as_json: JsonOption = False) -> None:
        """Make the version before the champion the champion again. Running workers follow."""
        require_extras("training")
        from training.promotion.by_metric import fall_back

        left, now = fall_back(name, tracking_uri=tracking_uri)
        say(
            strict_json({"left": left, "champion": now})
            if as_json
            else f"{name}: champion is version {now}, not {left}"
        )

    add_monitor(group, name, load)


def _train(
    load: "Callable[[], Recipe]",
    data: Path | None,
    seed: int,
    tries: int | None,
    tracking_uri: str | None,
    *,
    as_json: bool,
) -> None:
    require_extras("training")
    from training.run.train import role, table
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
    what = role(trained.promotion.promoted)
    say(f"{recipe.name} version {trained.logged.version} is {what} ({trained.logged.tracking_uri})")
