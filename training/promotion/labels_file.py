"""Reads labels from a file, instead of the topic."""

from pathlib import Path

from common.errors import UserError
from producers.recordings.small_table import SmallTable, read_small_table, times_of
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
    table = read_small_table(path)
    names = table.names
    key = next((n for n in names if n in (source.key, "key")), None)
    time = next((n for n in names if n in (source.time, "ts", "time", "timestamp")), None)
    if key is None or time is None:
        raise UserError(
            f"{path} needs a column {source.key} or key and a column {source.time} or time, and has "
            f"{', '.join(names)}; rename its columns"
        )
    kind = ["kind"] if "kind" in names else []
    _require_whole(path, table, [key, time, *kind])
    times = _times(path, table, time)
    kinds = table.rows["kind"] if kind else [EVENT] * len(times)
    if unknown := [row for row, name in enumerate(kinds) if name not in KINDS]:
        first = unknown[0]
        raise UserError(f"{_at(path, table, first)}: kind {kinds[first]!r} is not known; use one of {', '.join(KINDS)}")
    rows = zip(table.rows[key], times, kinds, strict=True)
    return [Label(key, round(ts), kind) for key, ts, kind in rows if kind != WITHDRAWN]


def _require_whole(path: Path, table: SmallTable, names: list[str]) -> None:
    for place, rule in table.broken:
        raise UserError(f"{path}, {table.unit} {place}: {rule}; correct the row")
    if not table.places:
        begin = f"line {table.first_line}" if table.unit == "line" else "the first row"
        raise UserError(f"{path} holds no labels: from {begin} on there is nothing in columns {', '.join(names)}")
    for name in names:
        if empty := [row for row, value in enumerate(table.rows[name]) if not value]:
            raise UserError(f"{_at(path, table, empty[0])}: nothing in column {name}; fill it in, or remove the row")


def _times(path: Path, table: SmallTable, name: str) -> list[float]:
    texts = table.rows[name]
    times = times_of(texts, name)
    if times.relative:
        raise UserError(f"{path}: column {name} counts from a start; write times as ISO 8601, or since 1970")
    for row, (text, ms) in enumerate(zip(texts, times.ms, strict=True)):
        if ms is None:
            raise UserError(f"{_at(path, table, row)}: {text} in column {name} is not a time; write ISO 8601")
    return [ms for ms in times.ms if ms is not None]


def _at(path: Path, table: SmallTable, row: int) -> str:
    return f"{path}, {table.unit} {table.places[row]}"
