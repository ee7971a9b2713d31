"""The commands `absenteeism train` and `absenteeism fallback`."""

from typing import TYPE_CHECKING

import typer

from training.run.cli import add_commands

if TYPE_CHECKING:
    from training.fitting.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    add_commands(app, "absenteeism", _recipe)


def _recipe() -> "Recipe":
    from pipelines.absenteeism.recipe import RECIPE

    return RECIPE
