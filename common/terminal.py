"""All output to the terminal: text from outside is neither markup nor a control sequence."""

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
    """A console that prints strings unchanged, also in tables. Styled text is a `Text`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is printed passes here. Rich marks its own control codes."""
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
    """Text in Rich's markup. Escape text from outside with `common.text.markup` first."""
    return Text.from_markup(markup, emoji=False)


def say(text: object, *, err: bool = False) -> None:
    """Print a line of text or JSON.

    Raises:
        UserError: standard output cannot be written. What cannot be written to standard error is lost.
    """
    try:
        typer.echo(lines(text), err=err)
    except BrokenPipeError:  # the reader has closed the pipe
        raise
    except OSError as error:
        give_up("stderr" if err else "stdout")
        if not err:
            raise UserError(f"standard output cannot be written ({error.strerror})") from error


def give_up(stream: Literal["stdout", "stderr"]) -> None:
    """Stop writing to a broken stream: Python would retry at exit, and change the exit code."""
    setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - for as long as the process lives
