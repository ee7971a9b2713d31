"""Writes files atomically, and reads JSON files with errors that name the file."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from common.errors import UserError
from common.validation_errors import faults

T = TypeVar("T")


def write_whole(path: Path, text: str) -> None:
    """Replace a file atomically: neither a crash nor a power failure leaves half of it."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_json(path: Path, form: TypeAdapter[T], remedy: str) -> T:
    """Read and validate a JSON file.

    Args:
        path: the file.
        form: type of its content.
        remedy: what the user can do if it is damaged.

    Raises:
        UserError: the file cannot be read, or has other content.
    """
    try:
        return form.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({faults(error)[0]}): {remedy}") from error
