"""Where in a text file the table is: delimiter, line of the column names, units below it, number style.

DuckDB finds the delimiter. It would also find the header, but drops the lines before a change of width in silence
(duckdb/duckdb#25827), so the header is looked for here, and what is above it is told.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.database import first_row, literal, reason
from producers.recordings.units import is_unit

SAMPLE_LINES = 1000
_LONGEST_PREAMBLE = 300
_WIDE = 500
_NUMBER = re.compile(r"[+-]?(\d[\d.,']*|[.,]\d+)([eE][+-]?\d+)?")
_MOMENT = re.compile(r"\d{1,4}[-/.]\w{1,3}[-/.]\d{1,4}\b.*|(\d+\s*d(ays?)?\s+)?\d{1,3}:\d\d.*")
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?|[+-]?,\d+")
_UTC = {"utc", "gmt", "(utc)", "[utc]"}
EITHER_WAY = re.compile(r"\s*[+-]?[1-9]\d{0,2}(\.\d{3})+\s*$")
"""Where other numbers have decimal commas, the points of such a one could separate thousands or decimals."""
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}")


@dataclass(frozen=True)
class CsvLayout:
    """The layout of a text file.

    Attributes:
        names: of the columns, each once. A column without a name gets its number, and so do equal names.
        units: by name, from a line below the names.
        delimiter: between fields. quote: around fields.
        header_line: number of the line with the names; the first is 1.
        skip: number of lines before the first row.
        excess: how many empty fields beyond the names some rows have.
        numbers: how numbers are written: "point" (3.14), "comma" (3,14) or "thousands" (1,234.5).
        notes: what is unusual, for people.
    """

    names: tuple[str, ...]
    units: dict[str, str]
    delimiter: str
    quote: str
    header_line: int
    skip: int
    excess: int
    numbers: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    number: int
    fields: list[str]

    @property
    def width(self) -> int:
        """Number of fields up to the last that is not empty."""
        return next((i for i in range(len(self.fields), 0, -1) if self.fields[i - 1]), 0)

    @property
    def is_text(self) -> bool:
        """Whether there is text and no number or time in it."""
        return any(self.fields) and not any(map(is_value, self.fields))


def is_value(field: str) -> bool:
    """Whether a field looks like a number or a time, not like a name."""
    return bool(_NUMBER.fullmatch(field) or _MOMENT.fullmatch(field))


def csv_layout(path: Path, origin: Path, database: duckdb.DuckDBPyConnection) -> CsvLayout:
    """Find the layout of a file of clean text (see `clean_text`).

    Args:
        path: the text.
        origin: the user's file, for messages.
        database: may read `path`.

    Raises:
        UserError: there is no line with names of columns.
    """
    delimiter, quote = _dialect(path, origin, database)
    lines = _sample(path, delimiter, quote)
    at = _header(lines)
    if at is None:
        raise UserError(
            f"{shown(origin)}: every column needs a unique name, but there is no header; write the columns' names into "
            "the first line"
        )
    header, below = lines[at], lines[at + 1 :]
    units_row = bool(below) and _is_units(below[0]) and header.is_text
    notes = [f"{header.number - 1} lines above the header were left out"] if header.number > 1 else []
    if units_row:
        notes.append("the line below the header holds units")
    rows = below[1:] if units_row else below
    fields = _trimmed(header.fields, rows)
    names, doubled = _unique(fields)
    if doubled:
        notes.append(f"columns with the same name were numbered: {', '.join(map(shown, doubled))}")
    # Rows with trailing delimiters; a row with too many values is broken.
    beyond = [len(line.fields) - len(names) for line in rows if line.width <= len(names)]
    excess = max([0, *beyond])
    if excess:
        notes.append(f"rows have up to {excess} empty fields more than the header")
    numbers = _number_style(delimiter, rows)
    if numbers != "point":
        notes.append(
            {"comma": "numbers have decimal commas", "thousands": "numbers have thousands separators"}[numbers]
        )
    if numbers == "comma" and (unclear := next((f for line in rows for f in line.fields if EITHER_WAY.match(f)), None)):
        notes.append(
            f"{shown(unclear)} counts as no number, because its points could separate thousands or decimals: write "
            "replace(COLUMN, '.', '')::DOUBLE or COLUMN::DOUBLE"
        )
    return CsvLayout(
        names=names,
        units=dict(zip(names, below[0].fields, strict=False)) if units_row else {},
        delimiter=delimiter,
        quote=quote,
        header_line=header.number,
        skip=(below[0] if units_row else header).number,
        excess=excess,
        numbers=numbers,
        notes=tuple(notes),
    )


def _dialect(path: Path, origin: Path, database: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    if not path.stat().st_size:
        raise UserError(f"{shown(origin)}: every column needs a unique name, but the file is empty; check the file")
    head = path.open(encoding="utf-8", errors="replace").read(1 << 16).split("\n")[:50]
    frequent = max(",;\t|", key=lambda d: sum(line.count(d) for line in head))
    if head[0].count(frequent) > _WIDE:  # the sniffer would need 1 GB for 10,000 columns
        return frequent, '"'
    try:
        found = first_row(
            database.execute(
                "SELECT Delimiter, Quote FROM sniff_csv("
                f"{literal(str(path))}, null_padding = true, strict_mode = false, ignore_errors = true, "
                "all_varchar = true)"
            )
        )
    except duckdb.Error as error:
        raise UserError(f"{shown(origin)} is not a table in text form: {reason(error)}; check the file") from error
    delimiter, quote = found or (",", '"')
    if not any(delimiter in line for line in head):  # one column, or a file of a header only
        delimiter = frequent
    return delimiter, "'" if quote == "'" else '"'


def _sample(path: Path, delimiter: str, quote: str) -> list[_Line]:
    lines: list[_Line] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, quotechar=quote)
        before = 0
        try:
            for record in reader:
                fields = [field.strip() for field in record]
                if any(fields):
                    lines.append(_Line(before + 1, fields))
                before = reader.line_num
                if len(lines) >= SAMPLE_LINES:
                    break
        except csv.Error:  # a field of more than 128 kB: what came before is enough
            pass
    return lines


def _header(lines: Sequence[_Line]) -> int | None:
    """Index of the line of names: the first line of text that has a row of values below it, or below its units."""
    usual = Counter(line.width for line in lines[-len(lines) // 2 :] if not line.is_text).most_common(1)
    width = usual[0][0] if usual else 0
    for at, line in enumerate(lines[:_LONGEST_PREAMBLE]):
        below = lines[at + 1 : at + 3]
        rows = [row for row in below[:2] if not row.is_text]
        follows = bool(below) and (not below[0].is_text or (_is_units(below[0]) and bool(rows)))
        if line.is_text and follows and line.width >= 0.6 * width and rows[0].width >= 0.5 * width:
            return at
    if not usual:  # a header only, or a table of text
        widest = max((line.width for line in lines), default=0)
        return next((i for i, line in enumerate(lines) if line.is_text and line.width == widest), None)
    first = lines[0]
    # Names that are numbers, as a pivot writes them.
    return (
        0
        if len(lines) > 1 and first.fields[0] and not is_value(first.fields[0]) and is_value(lines[1].fields[0])
        else None
    )


def _is_units(line: _Line) -> bool:
    written = [field for field in line.fields if field and field.casefold() not in _UTC]
    return bool(written) and all(is_unit(field) for field in written)


def _trimmed(header: list[str], rows: Sequence[_Line]) -> list[str]:
    """The names, without trailing fields that have neither a name nor a value."""
    used = max([line.width for line in rows], default=0)
    least = max(len(header) - next((i for i, f in enumerate(reversed(header)) if f), 0), min(used, len(header)))
    return header[:least] if used else [name for name in header if name]


def _unique(fields: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names of columns, each once, and those that had to be numbered."""
    fields = [fields[0].lstrip("#").strip(), *fields[1:]] if fields else []
    count, seen, names = Counter(fields), Counter[str](), dict[str, None]()
    for i, name in enumerate(fields):
        unique = name or f"column {i + 1}"
        while (name and count[name] > 1 and unique == name) or unique in names:
            seen[name] += 1
            unique = f"{name} ({seen[name]})"
        names[unique] = None
    return tuple(names), sorted({name for name in fields if name and count[name] > 1})


def _number_style(delimiter: str, rows: Sequence[_Line]) -> str:
    fields = [field for line in rows for field in line.fields if "," in field]
    if any(_THOUSANDS.fullmatch(field) for field in fields):
        return "thousands"
    commas = [field for field in fields if _COMMA.fullmatch(field)]
    if delimiter == "," and all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", field) for field in commas):
        return "thousands" if commas else "point"  # quoted: "1,234"
    return "comma" if commas else "point"
