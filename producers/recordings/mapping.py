"""What the user says about a recording: which column or expression is which field, and how times are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import UserError
from common.text import shown
from common.validation_errors import faults
from worker.config.topology import Parameter

_EXAMPLE = "ts=time_s,flow=-litres"
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Mapping:
    """What the user says. Not needed for a file whose columns have the fields' names or their aliases.

    Attributes:
        columns: field -> the file's column, or an SQL expression over its columns.
        key_columns: the file's columns that make up the key, joined by "/". Wins over `columns`.
        key: key of every row of all files.
        group: group of every row, for files without a group column. Default: the file's name.
        topology: how the recorded equipment is built. Readings are then rescaled to the pipeline's topology, whose
            texts must be these.
        sheet: of spreadsheets; None: the only one with a table.
        query: SQL whose result is read instead of the files themselves; there they are `file`, or `file1`, `file2`, ….
        time_format: of the times, as strptime takes it.
        time_unit: of times that are numbers.
        time_zone: of times that do not say it. Default: UTC.
        start_ms: event time (ms) of the first reading; moves the whole recording.
    """

    columns: dict[str, str] = field(default_factory=dict)
    key_columns: tuple[str, ...] = ()
    key: str | None = None
    group: str | None = None
    topology: dict[str, float | str] = field(default_factory=dict)
    sheet: str | None = None
    query: str | None = None
    time_format: str | None = None
    time_unit: str | None = None
    time_zone: str | None = None
    start_ms: int | None = None


class MappingFile(BaseModel):
    """A mapping in a YAML file. `query` is SQL or the name of a file beside it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    columns: dict[str, str] = Field(default_factory=dict)
    key_columns: list[str] = Field(default_factory=list)
    key: str | None = None
    group: str | None = None
    topology: dict[str, Parameter] = Field(default_factory=dict)
    sheet: str | None = None
    query: str | None = None
    time_format: str | None = None
    time_unit: str | None = None
    time_zone: str | None = None


def parse_mapping(
    columns: str | Sequence[str] | None = None,
    key_columns: str | None = None,
    group: str | None = None,
    topology: str | None = None,
    *,
    file: Path | None = None,
    query: Path | None = None,
    **others: Any,
) -> Mapping:
    """A mapping from a YAML file and the options of a command line. An option wins over the file.

    Args:
        columns: `FIELD=EXPRESSION,…`, once or several times.
        key_columns: names, separated by commas.
        group: see `Mapping`.
        topology: `PARAMETER=VALUE,…`.
        file: a YAML file with the same keys.
        query: a file with SQL.
        others: other attributes of `Mapping`; None if not given.

    Raises:
        UserError: an option has a syntax error, or a file cannot be read.
    """
    held = Mapping() if file is None else _read(file)
    texts = [columns] if isinstance(columns, str) else list(columns or ())
    given = {
        "columns": held.columns | {name: column for text in texts for name, column in parse_columns(text).items()},
        "key_columns": tuple(part.strip() for part in key_columns.split(",")) if key_columns else None,
        "group": group,
        "topology": parse_topology(topology) if topology else None,
        "query": None if query is None else _text(query, "--query"),
        **others,
    }
    return replace(held, **{name: value for name, value in given.items() if value is not None})


def _read(path: Path) -> Mapping:
    try:
        content = yaml.safe_load(_text(path, "--mapping"))
        read = MappingFile.model_validate({} if content is None else content)
    except yaml.YAMLError as error:
        raise UserError(f"--mapping {shown(path)} is not YAML: {shown(error, 300)}; correct it") from error
    except ValidationError as error:
        texts = "; ".join(str(fault) for fault in faults(error))
        known = ", ".join(MappingFile.model_fields)
        raise UserError(f"--mapping {shown(path)}: {texts}; its keys are {known}") from error
    values = read.model_dump(exclude_none=True)
    if read.query is not None and "\n" not in read.query and read.query.strip().endswith(".sql"):
        values["query"] = _text(path.parent / read.query.strip(), "--query")
    values["key_columns"] = tuple(read.key_columns)
    return Mapping(**{name: values[name] for name in (f.name for f in fields(Mapping)) if name in values})


def _text(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"{option} {shown(path)} cannot be read ({why}); check the path") from error


def parse_columns(text: str) -> dict[str, str]:
    """Parse `FIELD=EXPRESSION,…`. Commas in brackets or quotes belong to the expression.

    Raises:
        UserError: the text has another form, or names a field twice.
    """
    return dict(_pairs("--columns", _split(text), _EXAMPLE))


def parse_topology(text: str) -> dict[str, float | str]:
    """Parse `PARAMETER=VALUE,…`.

    Raises:
        UserError: the text has another form, or a value is neither a number above 0 nor a word.
    """
    example = "length_m=2.5,type=steel"
    topology: dict[str, float | str] = {}
    for name, value in _pairs("--topology", text.split(","), example):
        if value[:1].isalpha() and value.lower() not in {"nan", "inf", "infinity"}:
            topology[name] = value
            continue
        if not re.fullmatch(r"\d*\.?\d+([eE][+-]?\d+)?|\d+\.", value) or not 0 < float(value) < float("inf"):
            raise UserError(
                f"--topology: {name}={value} is neither a number above 0 nor a word; write for example {example}"
            )
        topology[name] = float(value)
    return topology


def _split(text: str) -> list[str]:
    """The parts between commas that are outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth = max(depth - 1, 0)
        if char == "," and not quote and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _pairs(option: str, parts: Sequence[str], example: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in parts:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value.removeprefix("-")):
            raise UserError(f"{option}: {part!r} is not NAME=VALUE; write for example {example}")
        if name in dict(pairs):
            raise UserError(f"{option}: {name} is given twice; keep one")
        pairs.append((name, value))
    return pairs
