"""The one way to the terminal: no text from outside is markup there, or reaches it as a control sequence."""

import os
import sys
from collections.abc import Iterable
from typing import Any, Literal

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from common.errors import UserError
from common.text import lines, shown


class _Terminal(Console):
    """A console that prints strings as they are, in tables too; what is styled is a `Text`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is ever printed comes by here, Rich's own control codes marked as such."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_printable(segment.text))


def _printable(text: str) -> str:
    return text if text.isprintable() else "\n".join(shown(line) for line in text.split("\n"))


def terminal(*, stderr: bool = False, **options: Any) -> Console:
    """A console for people.

    Args:
        stderr: whether it is standard error.
        options: of Rich's `Console`.
    """
    return _Terminal(stderr=stderr, highlight=False, markup=False, emoji=False, **options)


def styled(markup: str) -> Text:
    """Text in Rich's markup; what comes from outside goes through `common.text.markup` first."""
    return Text.from_markup(markup, emoji=False)


def say(text: object, *, err: bool = False) -> None:
    """Print a line of words or of JSON.

    Raises:
        UserError: standard output cannot be written. What cannot be told on standard error is lost.
    """
    try:
        typer.echo(lines(text), err=err)
    except BrokenPipeError:  # the reader has seen enough
        raise
    except OSError as error:
        give_up("stderr" if err else "stdout")
        if not err:
            raise UserError(f"standard output cannot be written ({error.strerror})") from error


def give_up(stream: Literal["stdout", "stderr"]) -> None:
    """Write nothing more to a stream that takes nothing: Python would try again at exit, and change the exit code."""
    setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - for as long as the process lives
