"""The dialect of a CSV file: encoding, delimiter, line of the header, decimal commas."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from common.errors import UserError

_HEAD_BYTES = 65_536
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Dialect:
    """The dialect of a file.

    Attributes:
        names: of the columns; a column without a name gets its number ("column 1").
        delimiter: character between fields.
        encoding: utf8 or latin1.
        header_line: number of the line with the names; the first is 1. Lines before it are comments or blank.
        decimal_comma: whether numbers have the form 3,14.
    """

    names: list[str]
    delimiter: str
    encoding: str
    header_line: int
    decimal_comma: bool


def dialect(path: Path) -> Dialect:
    """Detect the dialect from the beginning of a file, which may be compressed (.gz, .bz2, .zst).

    Raises:
        UserError: the file is not text, or its header does not give each column a unique name.
    """
    try:
        with pa.input_stream(str(path), compression="detect") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}; check the file") from error
    if b"\0" in head:
        raise UserError(f"{path} is not CSV text (it contains zero bytes); save it as CSV in UTF-8")
    text, encoding = _decoded(head)
    lines = text.splitlines()
    at = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if at is None:
        raise UserError(f"{path}: every column needs a unique name, but there is no header; add one")
    delimiter = max(_DELIMITERS, key=lambda d: len(_fields(lines[at], d)))
    names = [name.strip() or f"column {i + 1}" for i, name in enumerate(_fields(lines[at], delimiter))]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: every column needs a unique name, but the header has {names}; correct it")
    values = [field.strip() for line in lines[at + 1 : at + 50] for field in _fields(line, delimiter)]
    comma = delimiter != "," and any(_number(v) is None and _number(v.replace(",", ".")) is not None for v in values)
    return Dialect(names, delimiter, encoding, at + 1, comma)


def _decoded(head: bytes) -> tuple[str, str]:
    try:
        # The first bytes may end within a character.
        return head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD_BYTES else "ignore"), "utf8"
    except UnicodeDecodeError:
        return head.decode("latin1"), "latin1"


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
