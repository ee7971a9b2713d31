"""Files of our own: put in place whole, and told of by name where they cannot be read."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from common.errors import UserError

T = TypeVar("T")


def write_whole(path: Path, text: str) -> None:
    """Put a text in the place of what is there, at once: neither a crash nor a power failure leaves half of it."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_json(path: Path, form: TypeAdapter[T], remedy: str) -> T:
    """What a file holds.

    Args:
        path: of the file.
        form: what it is to hold.
        remedy: what the user can do, if it does not.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        return form.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is damaged ({where + ': ' if where else ''}{first['msg']}): {remedy}") from error
