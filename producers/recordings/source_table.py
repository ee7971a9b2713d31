"""A file as a table in the database: text with its layout, Parquet with its types, JSON lines, a sheet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.csv_layout import EITHER_WAY, CsvLayout, csv_layout
from producers.recordings.database import literal, quoted, reason
from producers.recordings.files import JSON, PARQUET, SHEETS, kind_of
from producers.recordings.sheet import write_sheet
from producers.recordings.text_file import TextFile, clean_text

MISSING_WORDS = (
    "", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "---", "?", "unknown", "unavailable", "missing",
    "nodata", "no data", "undefined", "#value!", "#ref!", "#div/0!", "#num!",
)  # fmt: skip
_NO_TEXT = "\x01"
"""What no file holds: an empty field stays empty text, and only a field that is not there is null."""


@dataclass(frozen=True)
class SourceTable:
    """A file that can be queried.

    Attributes:
        path: the user's file. read: what is read instead, if it had to be copied.
        names: of its columns, as the user writes them.
        ids: by name, the SQL name: without regard to case each once.
        types: by name, the SQL type.
        units: by name, from a line below the names; empty text where there is none.
        layout: of a text file.
        lists: names of the columns of lists, as JSON has them.
        notes: what is unusual, for people.
    """

    path: Path
    read: Path
    names: tuple[str, ...]
    types: dict[str, str]
    units: dict[str, str] = field(default_factory=dict)
    layout: CsvLayout | None = None
    line_end: str = "\n"
    notes: tuple[str, ...] = ()
    lists: frozenset[str] = frozenset()

    @cached_property
    def ids(self) -> dict[str, str]:
        """SQL names: those of columns that differ only in case are numbered."""
        count: dict[str, int] = {}
        for name in self.names:
            count[name.casefold()] = count.get(name.casefold(), 0) + 1
        seen: dict[str, int] = {}
        ids = {}
        for name in self.names:
            seen[name.casefold()] = number = seen.get(name.casefold(), 0) + 1
            ids[name] = f"{name} ({number})" if count[name.casefold()] > 1 else name
        return ids

    @property
    def unit(self) -> str:
        """What `BadRow.place` counts: "line" or "row"."""
        return "row" if self.layout is None or kind_of(self.path) in SHEETS else "line"

    def is_text(self, name: str) -> bool:
        """Whether the values of a column are text."""
        return self.types[name] == "VARCHAR"

    def rows(self, rejects: str | None = None) -> str:
        """SQL of the rows, with columns `ids`, and `=short` and `=long` for rows with too few or too many fields.

        Args:
            rejects: name of a table for lines that cannot be parsed; None: they are left out in silence.
        """
        path = literal(str(self.read))
        if self.layout is None:
            if kind_of(self.path) in PARQUET:
                chosen = ", ".join(f"{quoted(name)} AS {quoted(self.ids[name])}" for name in self.names)
                return f'SELECT {chosen}, false AS "=short", false AS "=long" FROM read_parquet({path})'
            columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.names)
            chosen = ", ".join(f"{quoted(n)} AS {quoted(self.ids[n])}" for n in self.names)
            source = _json(self.read, f", columns = {{{columns}}}")
            return f'SELECT {chosen}, false AS "=short", false AS "=long" FROM {source}'
        return self._text_rows(path, self.layout, rejects)

    def _text_rows(self, path: str, layout: CsvLayout, rejects: str | None) -> str:
        ids = list(self.ids.values())
        beyond = [f"=beyond {i + 1}" for i in range(layout.excess)]
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in [*ids, *beyond])
        kept = (
            "ignore_errors = true" if rejects is None else f"store_rejects = true, rejects_table = {literal(rejects)}"
        )
        if rejects is not None:
            kept += f", rejects_scan = {literal(rejects + '_scan')}, rejects_limit = 100000"
        padding = "null_padding = true, parallel = false" if beyond else "null_padding = false"
        # DuckDB 2.0.1 finds no row if it is told that lines end with CRLF, and finds them all if it is not.
        ends = literal(self.line_end.encode("unicode_escape").decode())
        line_end = "" if self.line_end == "\r\n" else f"new_line = {ends}, "
        source = (
            f"read_csv({path}, auto_detect = false, header = false, skip = {layout.skip}, "
            f"delim = {literal(layout.delimiter)}, quote = {literal(layout.quote)}, "
            f"escape = {literal(layout.quote)}, nullstr = {literal(_NO_TEXT)}, "
            f"{line_end}columns = {{{columns}}}, "
            f"strict_mode = true, max_line_size = 4194304, {padding}, {kept})"
        )
        long = " OR ".join(f"coalesce({quoted(name)}, '') <> ''" for name in beyond) or "false"
        short = f"{quoted(ids[-1])} IS NULL" if beyond else "false"
        return f'SELECT *, {short} AS "=short", {long} AS "=long" FROM {source}'

    def number(self, text: str, sql_type: str = "VARCHAR") -> str:
        """SQL of a value as DOUBLE, null where it is missing or no number."""
        if sql_type != "VARCHAR":
            return f"nullif(TRY_CAST({text} AS DOUBLE), 'nan'::DOUBLE)"
        plain, style = f"TRY_CAST({text} AS DOUBLE)", self.layout.numbers if self.layout else "point"
        if style == "thousands":
            plain = f"TRY_CAST(replace({text}, ',', '') AS DOUBLE)"
        elif style == "comma":
            # A point beside a comma separates thousands. Alone, as in 51.800, it could do either: no number.
            turned = f"TRY_CAST(replace(replace({text}, '.', ''), ',', '.') AS DOUBLE)"
            either = f"regexp_matches({text}, {literal('^' + EITHER_WAY.pattern)})"
            plain = f"CASE WHEN contains({text}, ',') THEN {turned} WHEN NOT {either} THEN {plain} END"
        return f"nullif({plain}, 'nan'::DOUBLE)"


def is_missing(text: str) -> str:
    """SQL: whether a text says that a value is missing."""
    return f"lower(trim({text})) IN ({', '.join(map(literal, MISSING_WORDS))})"


def open_table(
    path: Path, number: int, directory: Path, database: duckdb.DuckDBPyConnection, sheet: str | None = None
) -> SourceTable:
    """Look at a file, so that it can be queried.

    Args:
        path: the file.
        number: of the file, for the names of copies.
        directory: temporary, for a copy; `database` may read it.
        database: see `open_database`.
        sheet: name of a sheet, for spreadsheets.

    Raises:
        UserError: the file cannot be read, or its columns have no names.
    """
    kind = kind_of(path)
    if kind in PARQUET:
        return _typed(path, f"SELECT * FROM read_parquet({literal(str(path))})", database)
    if kind in SHEETS:
        copy, notes = write_sheet(path, directory / f"sheet{number}.csv", sheet)
        return _laid_out(path, TextFile(copy, "\n", notes), database)
    text = clean_text(path, directory / f"text{number}")
    if kind not in JSON:
        return _laid_out(path, text, database)
    table = _typed(path, f"SELECT * FROM {_json(text.path)}", database)
    # As text, so that one rule decides what is a number or a time, whatever the file is.
    lists = frozenset(name for name, sql_type in table.types.items() if sql_type.endswith("[]"))
    types = dict.fromkeys(table.names, "VARCHAR")
    return SourceTable(path, text.path, table.names, types, notes=text.notes, lists=lists)


def _json(path: Path, options: str = "") -> str:
    """SQL that reads JSON lines, or one array of objects."""
    with path.open(encoding="utf-8") as file:
        array = file.read(4096).lstrip().startswith("[")
    form = "format = 'array'" if array else "format = 'newline_delimited', ignore_errors = true"
    return f"read_json({literal(str(path))}, {form}{options})"


def _laid_out(path: Path, text: TextFile, database: duckdb.DuckDBPyConnection) -> SourceTable:
    layout = csv_layout(text.path, path, database)
    types = dict.fromkeys(layout.names, "VARCHAR")
    notes = (*text.notes, *layout.notes)
    return SourceTable(path, text.path, layout.names, types, layout.units, layout, text.line_end, notes)


def _typed(path: Path, query: str, database: duckdb.DuckDBPyConnection) -> SourceTable:
    try:
        found = database.execute(f"DESCRIBE {query}").fetchall()
    except duckdb.Error as error:
        kind = "Parquet" if kind_of(path) in PARQUET else "JSON lines"
        raise UserError(f"{shown(path)} is not a {kind} file ({reason(error)}); check how it was written") from error
    types = {str(row[0]): "VARCHAR" if str(row[1]).startswith("ENUM") else str(row[1]) for row in found}
    if not types or not all(types):
        raise UserError(f"{shown(path)}: every column needs a unique name, but it has {list(types)}; correct it")
    return SourceTable(path, path, tuple(types), types)


def places(table: SourceTable, rows: set[int], rejected: set[int]) -> dict[int, int]:
    """Line or row numbers of rows, which are counted from 0 without blank and rejected lines."""
    if table.layout is None:
        return {row: row + 1 for row in rows}
    found: dict[int, int] = {}
    for row, line in enumerate(_lines(table, table.layout, rejected)):
        if row in rows:
            found[row] = line
            if len(found) == len(rows):
                break
    return found


def _lines(table: SourceTable, layout: CsvLayout, rejected: set[int]) -> Iterator[int]:
    """The number of the first line of each row."""
    inside = False
    with table.read.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            begins = not inside
            inside ^= line.count(layout.quote) % 2 == 1
            if begins and number > layout.skip and line.strip("\r\n") and number not in rejected:
                yield number
