"""Reads labels from a file, instead of the topic."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from producers.recordings.convert import time_form, to_text, to_times_ms
from producers.recordings.dialect import dialect
from producers.recordings.tables import Table, column_names, read_columns
from training.monitoring.performance.labels import EVENT, KINDS, WITHDRAWN, Label
from worker.config.inputs_outputs import Input


def read_labels(path: Path, source: Input) -> list[Label]:
    """Labels from a CSV or Parquet file with columns for key, time and kind. Without `kind`, all are events.

    Args:
        path: the file.
        source: its key and time fields name the columns; `key`, `ts`, `time` and `timestamp` are accepted, too.

    Raises:
        UserError: the file cannot be read, or a row is not a label.
    """
    names = column_names(path)
    key = next((n for n in names if n in (source.key, "key")), None)
    time = next((n for n in names if n in (source.time, "ts", "time", "timestamp")), None)
    if key is None or time is None:
        raise UserError(
            f"{path} needs a column {source.key} or key and a column {source.time} or time, and has "
            f"{', '.join(names)}; rename its columns"
        )
    kind = ["kind"] if "kind" in names else []
    table = _whole(path, [key, time, *kind])
    columns = table.columns
    for name, column in columns.items():
        empty = [row for row, value in enumerate(column.to_pylist()) if value is None or not str(value).strip()]
        if empty:
            raise UserError(f"{_at(path, table, empty[0])}: nothing in column {name}; fill it in, or remove the row")
    form = time_form(columns[time])
    if form.relative:
        raise UserError(f"{path}: column {time} counts from a start; write times as ISO 8601, or since 1970")
    ms, wrong = to_times_ms(columns[time], form)
    if (bad := np.flatnonzero(wrong | ~np.isfinite(ms))).size:
        first = int(bad[0])
        raise UserError(
            f"{_at(path, table, first)}: {columns[time][first]} in column {time} is not a time; write ISO 8601"
        )
    kinds = to_text(columns["kind"]).to_pylist() if kind else [EVENT] * len(ms)
    if unknown := [row for row, name in enumerate(kinds) if name not in KINDS]:
        first = unknown[0]
        raise UserError(f"{_at(path, table, first)}: kind {kinds[first]!r} is not known; use one of {', '.join(KINDS)}")
    rows = zip(to_text(columns[key]).to_pylist(), ms.tolist(), kinds, strict=True)
    return [Label(key, round(ts), kind) for key, ts, kind in rows if kind != WITHDRAWN]


def _whole(path: Path, names: list[str]) -> Table:
    table = read_columns(path, names)
    for row in table.broken:
        raise UserError(f"{path}, {table.unit} {row.place}: {row.rule}; correct the row")
    if not len(table.place):
        begin = f"line {dialect(path).header_line + 1}" if table.unit == "line" else "the first row"
        raise UserError(f"{path} holds no labels: from {begin} on there is nothing in columns {', '.join(names)}")
    return table


def _at(path: Path, table: Table, row: int) -> str:
    return f"{path}, {table.unit} {table.place[row]}"
