"""Recognises files whose columns are aligned with blanks: they need a query, since a missing value is a blank, too."""

import re
from itertools import islice

from common.errors import UserError
from common.text import shown
from producers.recordings.database import quoted
from producers.recordings.source_table import SourceTable

_LINES = 1000
_ALIGNED = re.compile(r"\S\s+\S")


def refuse_fixed_width(table: SourceTable) -> None:
    """Refuse a text file of one column whose lines have blanks at the same places.

    Raises:
        UserError: it is one; the text has a query that cuts its lines.
    """
    if table.layout is None or len(table.names) != 1 or not _ALIGNED.search(table.names[0]):
        return
    first = table.layout.header_line - 1
    with table.read.open(encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\r\n") for line in islice(file, first, first + _LINES) if line.strip()]
    spans = _spans(lines)
    filled = [sum(bool(line[begin:end].strip()) for begin, end in spans) for line in lines[1:]]
    if sum(count > 1 for count in filled) <= len(filled) / 2:
        return
    whole = quoted(table.ids[table.names[0]])
    begins, ends = [begin for begin, _ in spans], [end for _, end in spans]
    # With the blanks on both sides: a value that is wider further down is then in two columns, and refused.
    cut = ", ".join(
        f"nullif(trim({whole}[{before + 1}:{after}]), '') AS {quoted(lines[0][begin:end].strip())}"
        for (begin, end), before, after in zip(spans, [0, *ends], [*begins[1:], ""], strict=False)
        if lines[0][begin:end].strip()
    )
    raise UserError(
        f"{shown(table.path)} has columns of fixed width: only blanks stand between them. Cut its lines with --query "
        f"FILE.sql, for example: SELECT {cut} FROM file"
    )


def _spans(lines: list[str]) -> list[tuple[int, int]]:
    """Begin and end of each column: the places where some line has a character."""
    width = max(map(len, lines))
    used = "".join("x" if any(line[at : at + 1].strip() for line in lines) else " " for at in range(width))
    return [found.span() for found in re.finditer("x+", used)]
