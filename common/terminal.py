"""All output to the terminal: text from outside is neither markup nor a control sequence."""

import os
import sys
from collections.abc import Iterable
from typing import Any, Literal

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from common.errors import UserError
from common.text import lines, shown

_LONGEST_WORD = 40
"""Characters that are kept together in a table: a UUID has 36."""
_ANY_WIDTH = 1 << 20


class _Terminal(Console):
    """A console that prints strings unchanged, also in tables. Styled text is a `Text`.

    Tables wrap between words only: a timestamp or a code of which a part stands on the next line cannot be read or
    copied. A table that is too wide for that is printed row by row, with a line for each cell.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is printed passes here. Rich marks its own control codes."""
        if isinstance(renderable, Table) and not self._keeps_words(renderable, options or self.options):
            renderable = _row_by_row(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_printable(segment.text))

    def _keeps_words(self, table: Table, options: ConsoleOptions) -> bool:
        """Choose widths of columns so that no word is broken, within reason. Returns whether there are such."""
        wide = options.update_width(_ANY_WIDTH)
        cells = [
            [Measurement.get(self, wide, cell) for cell in (column.header, *column.cells)] for column in table.columns
        ]
        least = [min(max(cell.minimum for cell in column), _LONGEST_WORD) for column in cells]
        widths = [max(cell.maximum for cell in column) for column in cells]
        excess = Measurement.get(self, wide, table).maximum - options.max_width
        if excess <= 0:
            return True
        for _ in range(excess):
            roomiest = max(range(len(widths)), key=lambda n: widths[n] - least[n])
            if widths[roomiest] <= least[roomiest]:
                return not table.show_header
            widths[roomiest] -= 1
        for column, width in zip(table.columns, widths, strict=True):
            column.width = width
        return True


def _row_by_row(table: Table) -> RenderableType:
    """The cells below each other, each beside the name of its column."""
    parts: list[RenderableType] = [table.title] if table.title else []
    for row in zip(*(column.cells for column in table.columns), strict=True):
        grid = Table.grid(padding=(0, 2))
        for column, cell in zip(table.columns, row, strict=True):
            grid.add_row(column.header, cell)
        parts += [grid, ""]
    return Group(*parts)


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
