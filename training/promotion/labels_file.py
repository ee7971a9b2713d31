"""Labels from a file, where they are not given on the topic."""

from pathlib import Path

import numpy as np

from producers.convert import time_form, to_text, to_times_ms
from producers.tables import column_names, read_columns
from training.performance.labels import EVENT, KINDS, WITHDRAWN, Label
from worker.errors import UserError
from worker.pipeline import Input


def read_labels(path: Path, source: Input) -> list[Label]:
    """Labels from a CSV or Parquet file with columns module, ts and kind (an event where there is no such column).

    Args:
        path: the file.
        source: the names of its key and time are understood, too.

    Raises:
        UserError: it cannot be read, or a row is no label.
    """
    names = column_names(path)
    key = next((n for n in names if n in (source.key, "key", "module")), None)
    time = next((n for n in names if n in (source.time, "ts", "time", "timestamp")), None)
    if key is None or time is None:
        raise UserError(f"{path} needs columns module and ts, and has {', '.join(names)}; rename its columns")
    kind = ["kind"] if "kind" in names else []
    columns = read_columns(path, [key, time, *kind]).columns
    form = time_form(columns[time])
    if form.relative:
        raise UserError(f"{path}: column {time} counts from a start; write times as ISO 8601, or since 1970")
    ms, wrong = to_times_ms(columns[time], form)
    if (bad := np.flatnonzero(wrong | ~np.isfinite(ms))).size:
        raise UserError(f"{path}: {columns[time][int(bad[0])]} in column {time} is no time; write ISO 8601")
    kinds = to_text(columns["kind"]).to_pylist() if kind else [EVENT] * len(ms)
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise UserError(f"{path}: kind {unknown[0]!r} is not known; use one of {', '.join(KINDS)}")
    rows = zip(to_text(columns[key]).to_pylist(), ms.tolist(), kinds, strict=True)
    return [Label(module, round(ts), kind) for module, ts, kind in rows if kind != WITHDRAWN]
