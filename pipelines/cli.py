"""The commands of the pipelines that are trained by a recipe, such as `absenteeism train`."""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import typer

from training.run.cli import add_commands

if TYPE_CHECKING:
    from training.fitting.recipe import Recipe

WITH_RECIPE = ("absenteeism", "churn", "housing", "tabular")
"""Folders with a module `recipe`."""


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for name in WITH_RECIPE:
        add_commands(app, name, partial(_recipe, name))


def _recipe(name: str) -> "Recipe":
    recipe: Recipe = import_module(f"pipelines.{name}.recipe").RECIPE
    return recipe
