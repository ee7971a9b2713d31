"""The sheet of a spreadsheet as a text file: numbers in full, dates in ISO 8601."""

import csv
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.text import shown


def write_sheet(path: Path, copy: Path) -> tuple[Path, tuple[str, ...]]:
    """Write the first sheet that holds a table to a text file; also notes on what was left out, for people.

    Raises:
        UserError: the file is no spreadsheet, or holds no table.
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
    tables = {name: rows for name, rows in sheets.items() if sum(any(c != "" for c in row) for row in rows) > 1}
    if not tables:
        raise UserError(f"{shown(path)} holds no table; check the file")
    name, rows = next(iter(tables.items()))
    with copy.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([_text(cell) for cell in row] for row in rows)
    others = [shown(other) for other in tables if other != name]
    notes = (f"sheet {shown(name)} is read",) if len(sheets) > 1 else ()
    return copy, (*notes, f"sheets that are not read: {', '.join(others)}") if others else notes


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
