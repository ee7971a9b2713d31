"""Rows of files that cannot be used: where they stand, what is in them, and which rule they break."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from common.text import shown
from producers.recordings.database import first_row
from producers.recordings.faults import Fault
from producers.recordings.fields import Source
from producers.recordings.source_table import SourceTable, places

SHOWN = 5
"""How many bad rows messages and summaries list."""
_PIECE = 1 << 22
_FOOTER_ROWS = 3_000_000
"""Of longer files, finding the line of the last row takes too long."""


class BadRow(NamedTuple):
    """Why a row cannot be used, or a value counts as missing.

    Attributes:
        file: number of the file.
        place: line number (the first line of a text file is 1) or row number (from 1).
        unit: "line" or "row".
        column: the file's column; empty if the whole row is bad.
        value: the text in the file.
        rule: the rule that it breaks.
    """

    file: int
    place: int
    unit: str
    column: str
    value: str
    rule: str

    def __str__(self) -> str:
        """For messages."""
        at = f"{self.unit} {self.place}" + (f", column {shown(self.column)}" if self.column else "")
        return f"{at}: {shown(self.value, 200)!r}: {self.rule}"


def without_footer(
    table: SourceTable, rejected: list[BadRow], before: int, database: duckdb.DuckDBPyConnection
) -> tuple[list[BadRow], int]:
    """The broken lines without those below the last reading, and how many these are; rows of words there are marked.

    Args:
        table: the file.
        rejected: lines that could not be parsed.
        before: number of the file's first row in the table `readings`.
        database: the database.
    """
    (last,) = first_row(database.execute(f"SELECT max(rowid) FROM readings WHERE rowid >= {before} AND fault = 0"))
    if last is None:
        return rejected, 0
    database.execute(
        f"UPDATE readings SET fault = {int(Fault.FOOTER)} WHERE rowid > {last} AND fault = {int(Fault.WORDS)}"
    )
    row = last - before
    if not 0 < len(rejected) <= row < _FOOTER_ROWS:
        return rejected, 0
    line = places(table, {row}, {broken.place for broken in rejected}).get(row, 0)
    kept = [broken for broken in rejected if broken.place <= line]
    return kept, len(rejected) - len(kept)


def rejected_rows(
    rejects: str | None, table: SourceTable, number: int, database: duckdb.DuckDBPyConnection
) -> list[BadRow]:
    """Lines of a file that could not be parsed, each once."""
    if rejects is None:
        return []
    found = database.execute(
        "SELECT line_byte_position, any_value(csv_line), any_value(error_type), any_value(error_message), "
        f"any_value(delimiter) FROM {rejects} JOIN {rejects}_scan USING (scan_id, file_id) "
        "GROUP BY line_byte_position ORDER BY line_byte_position"
    ).fetchall()
    # DuckDB counts a row of several quoted lines as one line.
    lines = _lines_at(table, [int(position) - 1 for position, *_ in found])
    return [_rejected(number, line, str(text or ""), *why) for line, (_, text, *why) in zip(lines, found, strict=True)]


def _rejected(number: int, line: int, text: str, *why: str) -> BadRow:
    # Blank lines before it belong to the line for DuckDB.
    shown_text = text.lstrip("\r\n")
    return BadRow(
        number, line + text[: len(text) - len(shown_text)].count("\n"), "line", "", shown_text, _rule(shown_text, *why)
    )


def _lines_at(table: SourceTable, offsets: Sequence[int]) -> list[int]:
    """Numbers of the lines that begin at these offsets, which rise."""
    lines: list[int] = []
    line, at = 1, 0
    with table.read.open("rb") as file:
        for offset in offsets:
            while at < offset and (piece := file.read(min(offset - at, _PIECE))):
                line, at = line + piece.count(b"\n"), at + len(piece)
            lines.append(line)
    return lines


def _rule(text: str, kind: str, message: str, delimiter: str) -> str:
    if kind in {"MISSING COLUMNS", "TOO MANY COLUMNS"}:
        expected = re.search(r"Columns: (\d+)", message)
        fields = len(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), []))
        return f"the row has {fields} fields, the header {expected[1] if expected else 'another number'}"
    first = message.partition("\n")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def described(
    table: SourceTable,
    number: int,
    examples: Sequence[tuple[int, Source | None, str]],
    rejects: str | None,
    database: duckdb.DuckDBPyConnection,
) -> list[BadRow]:
    """Bad rows with their place and text; rows are counted from 0 within the file, without those in `rejects`."""
    examples = sorted(examples, key=lambda example: example[0])[:SHOWN]
    if not examples:
        return []
    rows = {row for row, _, _ in examples}
    rejected = {row.place for row in rejected_rows(rejects, table, number, database)}
    numbered = f'SELECT row_number() OVER () - 1 AS "=row", * FROM ({table.rows()})'
    wanted = ", ".join(map(str, sorted(rows)))
    relation = database.execute(f'SELECT * FROM ({numbered}) WHERE "=row" IN ({wanted})')
    names = [column[0] for column in relation.description]
    texts = {line[0]: dict(zip(names, line, strict=True)) for line in relation.fetchall()}
    at = places(table, rows, rejected)
    made = []
    for row, source, rule in examples:
        value = texts.get(row, {}).get(table.ids[source.column], "") if source is not None and source.column else ""
        column = source.text if source is not None else ""
        made.append(BadRow(number, at.get(row, row + 1), table.unit, column, "" if value is None else str(value), rule))
    return made
