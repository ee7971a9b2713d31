"""CSV and Parquet files as columns, in pieces or whole. Each row has its place in the file; bad rows are kept apart."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from common.errors import UserError
from producers.recordings.dialect import Dialect, dialect

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".tsv", ".txt")
_PACKED = (".gz", ".bz2", ".zst")
_BLOCK_BYTES = 1 << 24
_PARQUET_ROWS = 1 << 18


@dataclass(frozen=True)
class BadRow:
    """Why a row cannot be used.

    Attributes:
        place: line number (CSV; the first line of the file is 1) or row number (Parquet; from 1).
        column: the file's column name; empty if the whole row is bad.
        value: the text in the file.
        rule: the rule that it breaks.
    """

    place: int
    column: str
    value: str
    rule: str


@dataclass(frozen=True)
class Table:
    """Columns of a file, or of a piece of it.

    Attributes:
        columns: by name, [n] each.
        place: [n] line or row number of each row.
        unit: "line" or "row".
        broken: rows that could not be parsed; `columns` does not hold them.
    """

    columns: dict[str, pa.ChunkedArray]
    place: NDArray[np.int64]
    unit: str
    broken: list[BadRow] = field(default_factory=list)


def is_table(path: Path) -> bool:
    """Whether the file name has a suffix of a CSV or Parquet file."""
    return _suffix(path) in (*PARQUET, *TEXT)


def _suffix(path: Path) -> str:
    name = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return name.suffix.lower()


def column_names(path: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        UserError: there is no such file, it is neither CSV nor Parquet, or a name is missing or used twice.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path")
    if not is_table(path):
        raise UserError(f"{path}: only .csv and .parquet files can be read (also .tsv, .txt, .csv.gz); convert it")
    if _suffix(path) in TEXT:
        return dialect(path).names
    try:
        names = list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a Parquet file ({error}); check how it was written") from error
    if not all(names) or len(set(names)) < len(names) or not names:
        raise UserError(f"{path}: every column needs a unique name, but the header has {names}; correct it")
    return names


def read_columns(path: Path, names: list[str]) -> Table:
    """Read some columns of a whole file: CSV as text, Parquet with its own types.

    Raises:
        UserError: the file cannot be read.
    """
    pieces = list(iter_columns(path, names))
    if not pieces:
        unit = "line" if _suffix(path) in TEXT else "row"
        return Table({n: pa.chunked_array([], pa.string()) for n in names}, np.empty(0, np.int64), unit)
    columns = {}
    for name in names:
        parts = [piece.columns[name] for piece in pieces]
        # With its type, because there is no chunk if all rows are empty or broken.
        columns[name] = pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    place = np.concatenate([p.place for p in pieces])
    return Table(columns, place, pieces[0].unit, [row for p in pieces for row in p.broken])


def iter_columns(path: Path, names: list[str]) -> Iterator[Table]:
    """Read some columns of a file in pieces of some MB: CSV as text, Parquet with its own types.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        if _suffix(path) in TEXT:
            yield from _iter_csv(path, names, dialect(path))
            return
        first = 1
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=names):
                columns = {n: pa.chunked_array([batch.column(n)]) for n in names}
                yield Table(columns, np.arange(first, first + batch.num_rows, dtype=np.int64), "row")
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}; check how it was written") from error


def _iter_csv(path: Path, names: list[str], how: Dialect) -> Iterator[Table]:
    aside: list[BadRow] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        rule = f"the row has {row.actual_columns} fields, the header {row.expected_columns}"
        aside.append(BadRow(row.number, "", row.text, rule))
        return "skip"

    text = dict.fromkeys(names, pa.string())
    # Empty lines count as rows, and the names are given, so that lines can be numbered.
    options = (
        pa.csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            skip_rows=how.header_line,
            column_names=how.names,
            encoding=how.encoding,
        ),
        pa.csv.ParseOptions(delimiter=how.delimiter, ignore_empty_lines=False, invalid_row_handler=set_aside),
        pa.csv.ConvertOptions(include_columns=names, column_types=text, strings_can_be_null=False),
    )
    line = how.header_line + 1
    try:
        reader = pa.csv.open_csv(str(path), *options)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    with reader:
        for batch in reader:
            span = np.arange(line, line + batch.num_rows + len(aside), dtype=np.int64)
            lines = np.setdiff1d(span, [row.place for row in aside], assume_unique=True)[: batch.num_rows]
            line = int(lines[-1]) + 1 if len(lines) else line
            broken = [row for row in aside if row.place < line]
            aside[:] = [row for row in aside if row.place >= line]
            columns = {n: _with_points(pa.chunked_array([batch.column(n)]), how) for n in names}
            yield _without_empty(Table(columns, lines, "line", broken))
    if aside:
        yield Table({n: pa.chunked_array([], pa.string()) for n in names}, np.empty(0, np.int64), "line", aside)


def _with_points(column: pa.ChunkedArray, how: Dialect) -> pa.ChunkedArray:
    if not how.decimal_comma:
        return column
    return pc.replace_substring_regex(column, r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$", r"\1.\2")


def _without_empty(table: Table) -> Table:
    filled = np.zeros(len(table.place), bool)
    for column in table.columns.values():
        filled |= pc.not_equal(column, "").to_numpy()
    if filled.all():
        return table
    mask = pa.array(filled)
    kept = {name: column.filter(mask) for name, column in table.columns.items()}
    return Table(kept, table.place[filled], table.unit, table.broken)
