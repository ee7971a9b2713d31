"""Small files of labels or events: rows of text, and their times."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from producers.recordings.bad_rows import rejected_rows
from producers.recordings.database import first_row, literal, open_database, quoted, without_progress
from producers.recordings.files import files_in
from producers.recordings.source_table import open_table, places
from producers.recordings.time_numbers import Numbers, in_range, number_form
from producers.recordings.time_texts import Column, text_form


class SmallTable(NamedTuple):
    """Rows of a small file as text, without those that have nothing in them.

    Attributes:
        rows: by column.
        places: line or row number of each row.
        unit: "line" or "row".
        broken: line and rule of rows that could not be parsed.
        first_line: of the rows, in a text file.
    """

    rows: dict[str, list[str]]
    places: list[int]
    unit: str
    broken: list[tuple[int, str]]
    first_line: int

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.rows)


def read_small_table(path: Path) -> SmallTable:
    """Read a file whole.

    Raises:
        UserError: the file cannot be read.
    """
    (path,) = files_in([path])
    with tempfile.TemporaryDirectory(prefix="hazardstream-table-") as name:
        directory = Path(name)
        with open_database(directory, [path, directory / "text0", directory / "sheet0.csv"], "UTC") as database:
            table = open_table(path, 0, directory, database)
            rejects = "rejects_0" if table.layout else None
            columns = ", ".join(f"coalesce(trim({quoted(table.ids[n])}::VARCHAR), '')" for n in table.names)
            found = database.execute(f'SELECT {columns}, "=short", "=long" FROM ({table.rows(rejects)})').fetchall()
            broken = [(row.place, row.rule) for row in rejected_rows(rejects, table, 0, database)]
            at = places(table, set(range(len(found))), {place for place, _ in broken})
            broken += [
                (at[i], "the row has too few or too many fields") for i, row in enumerate(found) if any(row[-2:])
            ]
            kept = [i for i, row in enumerate(found) if any(row[:-2]) and not any(row[-2:])]
            rows = {n: [str(found[i][c]) for i in kept] for c, n in enumerate(table.names)}
            first = table.layout.skip + 1 if table.layout else 1
            return SmallTable(rows, [at[i] for i in kept], table.unit, broken, first)


class SmallTimes(NamedTuple):
    """Times in ms since 1970, or from a start if `relative`; None where a text is no time."""

    ms: list[float | None]
    relative: bool


def times_of(texts: Sequence[str], name: str) -> SmallTimes:
    """Times of a few texts, which all have one form.

    Raises:
        UserError: the form is not known.
    """
    with duckdb.connect(config={"enable_external_access": False}) as database:
        without_progress(database).execute("SET TimeZone = 'UTC'")
        rows = "SELECT * FROM (VALUES " + ", ".join(f"({literal(text)})" for text in texts) + ") AS v(x)"
        numbers = [row[0] for row in database.execute(f"SELECT TRY_CAST(x AS DOUBLE) FROM ({rows})").fetchall()]
        known = [number for number in numbers if number is not None]
        if len(known) > len(texts) / 2:
            # Seconds if they count from a start, whatever lies between them.
            asked = ", ".join(f"avg(CASE WHEN {c} THEN 1 ELSE 0 END)" for c in in_range("x::DOUBLE").values())
            shares = first_row(
                database.execute(f"SELECT {asked} FROM ({rows}) WHERE TRY_CAST(x AS DOUBLE) IS NOT NULL")
            )
            found = Numbers(min(known), max(known), float("nan"), dict(zip(in_range(""), shares or (), strict=True)))
            form = number_form(found, name, given=None, stated="", ours=True)
            ms = [None if n is None else (n - form.zero) * form.to_ms for n in numbers]
            return SmallTimes(ms, form.relative)
        text = text_form([Column("x", rows)], name, database)
        times = database.execute(f"SELECT {text.sql('x')} FROM ({rows})").fetchall()
        return SmallTimes([row[0] for row in times], text.relative)
