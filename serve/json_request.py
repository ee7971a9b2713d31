"""JSON of a request's body."""

from typing import Any

from jiter import from_json

from common.text import shown
from serve.problems import ProblemError


def parsed(body: bytes) -> Any:
    """The value of a body.

    Raises:
        ProblemError: 400. An object that has a key twice is refused, because either value may be the one that is meant.
    """
    try:
        return from_json(body, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        raise ProblemError(400, "malformed_json", f"the body cannot be read as JSON: {shown(str(error))}") from error
