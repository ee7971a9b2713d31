"""The sheet of a spreadsheet as a text file: numbers in full, dates in ISO 8601."""

import csv
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.text import shown
from producers.recordings.csv_layout import is_value


def write_sheet(path: Path, copy: Path, sheet: str | None) -> tuple[Path, tuple[str, ...]]:
    """Write a sheet to a text file; also notes on what was left out, for people.

    Args:
        path: the spreadsheet.
        copy: the text file.
        sheet: name of the sheet; None: the only one that holds a table.

    Raises:
        UserError: the file is no spreadsheet, holds no table, or several and `sheet` does not say which.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - for spreadsheets only
    except ModuleNotFoundError as error:
        raise UserError(
            f"{shown(path)}: spreadsheets need {error.name}; install it with: pip install 'hazardstream[replay]'"
        ) from error
    try:
        book = CalamineWorkbook.from_path(str(path))
        sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise UserError(f"{shown(path)} is no spreadsheet ({shown(error, 200)}); check the file") from error
    name = _chosen(path, sheets, sheet)
    rows = sheets[name]
    with copy.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([_text(cell) for cell in row] for row in rows)
    others = ", ".join(shown(other) for other in sheets if other != name)
    return copy, (f"sheet {shown(name)} is read, but not {others}",) if others else ()


def _chosen(path: Path, sheets: dict[str, list[list[Any]]], sheet: str | None) -> str:
    if sheet is not None:
        if sheet not in sheets:
            raise UserError(
                f"--sheet: {shown(path)} has no sheet {shown(sheet)}; it has {', '.join(map(shown, sheets))}"
            )
        return sheet
    tables = [name for name, rows in sheets.items() if sum(sum(map(_is_value, row)) > 1 for row in rows) > 1]
    if len(tables) > 1:
        raise UserError(
            f"{shown(path)} has several sheets with a table: {', '.join(map(shown, tables))}; name one with --sheet"
        )
    filled = [name for name, rows in sheets.items() if sum(any(cell != "" for cell in row) for row in rows) > 1]
    if not tables and not filled:
        raise UserError(f"{shown(path)} holds no table; check the file")
    return (tables or filled)[0]


def _is_value(cell: Any) -> bool:
    """Whether a cell can be part of a reading, and not only of a remark."""
    return isinstance(cell, int | float | date | time | timedelta) or is_value(str(cell).strip())


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float):
        return repr(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, timedelta):
        seconds = cell.total_seconds()
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02}:{seconds % 60:06.3f}"
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)
