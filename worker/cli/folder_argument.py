"""The argument of the `pipeline` commands: which pipeline they are about."""

from typing import Annotated

import typer

from common.errors import UserError

FolderArgument = Annotated[
    str | None, typer.Argument(metavar="FOLDER", help="The pipeline's folder, file or name; as --pipeline.")
]


def chosen(folder: str | None, option: str | None) -> str | None:
    """The pipeline that a command is about.

    Raises:
        UserError: the argument and the option name different ones.
    """
    if folder and option and folder != option:
        raise UserError(f"{folder!r} and --pipeline {option!r} are given; give one of them")
    return folder or option
