"""CSV and Parquet files as columns, each row with its place in the file, and what cannot be read set aside."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worker.errors import UserError

_MISSING_WORDS = ["", "nan", "na", "n/a", "null", "none"]
_SECONDS_BELOW = 1e9
_MILLISECONDS_FROM = 1e11
"""Seconds since a start never reach 31 years, and milliseconds since the epoch passed this in 1973."""


@dataclass(frozen=True)
class BadRow:
    """Why a row cannot be used.

    Attributes:
        place: number of its line (CSV; the header is line 1) or row (Parquet; from 1).
        column: the file's own column name; empty where the whole row is at fault.
        value: as it stands in the file.
        rule: what it breaks.
    """

    place: int
    column: str
    value: str
    rule: str


@dataclass(frozen=True)
class Table:
    """Columns of a file.

    Attributes:
        columns: by name, [n] each.
        place: [n] line or row number of each row.
        unit: "line" or "row".
        broken: rows that are no rows at all, left out of the columns.
    """

    columns: dict[str, pa.ChunkedArray]
    place: NDArray[np.int64]
    unit: str
    broken: list[BadRow] = field(default_factory=list)


def column_names(path: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        UserError: there is no such file, it is neither CSV nor Parquet, or names are missing or doubled.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path")
    if path.suffix == ".csv":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                names = next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path}, line 1: not CSV text in UTF-8 ({error}); save it as such") from error
    elif path.suffix in (".parquet", ".pq"):
        try:
            names = list(pq.read_schema(path).names)
        except pa.ArrowException as error:
            raise UserError(f"{path} is not a Parquet file ({error}); check how it was written") from error
    else:
        raise UserError(f"{path}: only .csv and .parquet files can be read; convert it")
    if not all(names) or len(set(names)) < len(names) or not names:
        raise UserError(f"{path}: every column needs a name of its own, not {names}; correct the header")
    return names


def read_columns(path: Path, names: list[str]) -> Table:
    """Read some columns of a file whole: CSV as text, Parquet as it is typed.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        if path.suffix == ".csv":
            return _read_csv(path, names)
        table = pq.read_table(path, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}; check how it was written") from error
    return Table({n: table.column(n) for n in names}, np.arange(1, table.num_rows + 1, dtype=np.int64), "row")


def _read_csv(path: Path, names: list[str]) -> Table:
    broken: list[BadRow] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        rule = f"the row has {row.actual_columns} fields, the header {row.expected_columns}"
        broken.append(BadRow(row.number, "", row.text, rule))
        return "skip"

    table = pa.csv.read_csv(
        path,
        # One thread, and empty lines kept as rows: else lines could not be numbered.
        read_options=pa.csv.ReadOptions(use_threads=False),
        parse_options=pa.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=set_aside),
        convert_options=pa.csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    lines = np.arange(2, table.num_rows + len(broken) + 2, dtype=np.int64)
    lines = np.setdiff1d(lines, [row.place for row in broken], assume_unique=True)
    return _without_empty(Table({n: table.column(n) for n in names}, lines, "line", broken))


def _without_empty(table: Table) -> Table:
    filled = np.zeros(len(table.place), bool)
    for column in table.columns.values():
        filled |= pc.not_equal(column, "").to_numpy()
    if filled.all():
        return table
    mask = pa.array(filled)
    kept = {name: column.filter(mask) for name, column in table.columns.items()}
    return Table(kept, table.place[filled], table.unit, table.broken)


def _is_text(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def to_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as trimmed text, empty where there is nothing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))


def to_numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as numbers [n], NaN where missing, and which rows [n] hold something that is no number."""
    wrong = np.zeros(len(column), bool)
    if not _is_text(column):
        try:
            numbers = column.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            return np.full(len(column), np.nan), ~column.is_null().to_numpy()
        return numbers.to_numpy(zero_copy_only=False).astype(np.float64), wrong
    text = to_text(column)
    missing = pc.is_in(pc.utf8_lower(text), value_set=pa.array(_MISSING_WORDS))
    text = pc.if_else(missing, None, text)
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowException:
        wrong = np.array([t is not None and not _is_number(t) for t in text.to_pylist()])
        numbers = pc.if_else(pa.array(wrong), None, text).cast(pa.float64())
    return numbers.to_numpy(zero_copy_only=False).astype(np.float64), wrong


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowException:
        return False
    return True


def to_times_ms(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_], bool]:
    """A column of times as milliseconds [n], NaN where missing, which rows are no time, and whether they are relative.

    ISO 8601 text and timestamps (without zone: UTC) and milliseconds since the epoch are absolute, seconds
    from a start are relative.

    Raises:
        UserError: numbers that are neither plausible seconds nor plausible milliseconds.
    """
    if pa.types.is_temporal(column.type):
        stamps = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        return stamps.to_numpy(zero_copy_only=False).astype(np.float64), np.zeros(len(column), bool), False
    numbers, wrong = to_numbers(column)
    if _is_text(column) and len(wrong) and wrong.mean() > 0.5:
        return _iso_times_ms(column)
    known = np.abs(numbers[np.isfinite(numbers)])
    typical = float(np.median(known)) if len(known) else 0.0
    if _SECONDS_BELOW <= typical < _MILLISECONDS_FROM:
        raise UserError(
            f"times like {typical:.0f} are neither seconds from a start nor milliseconds since 1970; "
            "convert them to one of these, or to ISO 8601 text"
        )
    relative = typical < _SECONDS_BELOW
    return numbers * 1000 if relative else numbers, wrong, relative


def _iso_times_ms(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_], bool]:
    text = to_text(column).to_pandas()
    times = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    missing = text.str.lower().isin(_MISSING_WORDS).to_numpy()
    unknown = times.isna().to_numpy()
    ms = times.dt.as_unit("ms").astype("int64").to_numpy().astype(np.float64)
    return np.where(unknown, np.nan, ms), unknown & ~missing, False
