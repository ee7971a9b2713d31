"""The series of a recording, which are its keys within each file, and what their times mean."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
from pydantic import ValidationError

from common.arrays import Float, Int
from common.errors import UserError
from common.text import shown
from common.validation_errors import faults
from producers.recordings.database import first_row
from producers.recordings.faults import Fault
from producers.recordings.load import Loaded
from producers.recordings.mapping import Mapping
from producers.recordings.restarts import restart_note
from producers.recordings.survey import Survey
from producers.recordings.time_numbers import NumberForm, Numbers, in_range, number_form
from producers.recordings.units import stated_time_unit
from worker.config.pipeline import Pipeline
from worker.score.event_time import EARLIEST_MS

RELATIVE_START_MS = 1_600_000_000_000
"""Start time of recordings that count from a start: fixed, so that a file always gives the same result."""
_SAMPLE = 1_000_000


class Series(NamedTuple):
    """A key within a file, and the group that its first reading names."""

    file: int
    key: str
    group: str


def find_series(database: duckdb.DuckDBPyConnection) -> list[Series]:
    """All series in the order of their first readings; makes the table `series` of their numbers."""
    database.execute(
        "CREATE TABLE series AS SELECT (row_number() OVER (ORDER BY first) - 1)::INTEGER AS number, * FROM "
        "(SELECT file, key, coalesce(nullif(arg_min(\"group\", rowid), ''), '') AS \"group\", min(rowid) AS first "
        "FROM readings WHERE fault = 0 GROUP BY file, key)"
    )
    rows = database.execute('SELECT file, key, "group" FROM series ORDER BY number').fetchall()
    return [Series(int(file), str(key), str(group)) for file, key, group in rows]


def number_forms(
    loaded: Loaded,
    mapping: Mapping,
    pipeline: Pipeline,
    seen: Survey,
    series: Sequence[Series],
    database: duckdb.DuckDBPyConnection,
) -> list[NumberForm]:
    """The form of each file's times, if they are numbers; empty if they are not.

    Raises:
        UserError: a unit is not known, or some files count from a start and others do not.
    """
    if not loaded.numeric:
        return []
    field = next(f for f in pipeline.input.avro_schema["fields"] if f["name"] == pipeline.input.time)
    own = {field["name"], *field.get("aliases", ())}
    forms: list[NumberForm] = []
    for number, (table, sources) in enumerate(zip(loaded.tables, loaded.sources, strict=True)):
        column = sources.time.column or ""
        steps = [float(seen.step[i]) for i, one in enumerate(series) if one.file == number]
        found = _numbers(number, np.array(steps), database)
        if found is None:
            continue
        stated = stated_time_unit(column, table.units.get(column, "")) if column else ""
        try:
            forms.append(
                number_form(found, sources.time.text, given=mapping.time_unit, stated=stated, ours=column in own)
            )
        except UserError as error:
            note = restart_note(loaded, number, database)
            raise UserError(f"{shown(table.path)}: {error}{f'. Note that {note}' if note else ''}") from error
    for table, form in zip(loaded.tables, forms, strict=False):
        if form.relative != forms[0].relative:
            raise UserError(
                f"{shown(table.path)} has times as {form.description}, but an earlier file has {forms[0].description}; "
                "give files with one time format, or convert them"
            )
    return forms or [NumberForm("numbers", relative=True, to_ms=1.0)]


def _numbers(file: int, steps: Float, database: duckdb.DuckDBPyConnection) -> Numbers | None:
    count = first_row(database.execute("SELECT count(*) FROM readings"))
    every = max(int(count[0]) // _SAMPLE, 1)
    shares = ", ".join(f"avg(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in in_range("time").values())
    found = first_row(
        database.execute(
            f"SELECT quantile_cont(time, 0.01), quantile_cont(time, 0.99), {shares} FROM readings "
            f"WHERE file = {file} AND fault = 0 AND rowid % {every} = 0"
        )
    )
    if not found or found[0] is None:
        return None
    known = steps[~np.isnan(steps)]
    step = float(np.median(known)) if len(known) else float("nan")
    return Numbers(float(found[0]), float(found[1]), step, dict(zip(in_range("time"), found[2:], strict=True)))


def names_of(
    series: Sequence[Series], loaded: Loaded, mapping: Mapping, *, relative: bool
) -> tuple[list[tuple[str, str]], Int]:
    """Key and group of each key, and the number of the key of each series.

    Raises:
        UserError: files that each count from a start of their own are to be joined.
    """
    several = len(loaded.tables) > 1
    if several and relative and mapping.key is not None:
        raise UserError(
            f"the files are to be joined as {shown(mapping.key)}, but each counts time from a start of its own; "
            "give files with dates, or leave out --key"
        )
    numbers: dict[str, int] = {}
    names: list[tuple[str, str]] = []
    codes = np.empty(len(series), np.int64)
    for at, (file, key, group) in enumerate(series):
        # A key that is the file's own name already tells the files apart.
        prefix = several and relative and bool(loaded.sources[file].key)
        name = f"{loaded.tables[file].path.stem}:{key}" if prefix else key
        if name not in numbers:
            numbers[name] = len(numbers)
            names.append((name, group))
        codes[at] = numbers[name]
    return names, codes


def write_codes(
    series: Sequence[Series], codes: Int, forms: Sequence[NumberForm], database: duckdb.DuckDBPyConnection
) -> None:
    """Add the number of the key, and how its times become ms, to the table `series`."""
    database.execute("CREATE TABLE coded (number INTEGER, code INTEGER, to_ms DOUBLE, zero DOUBLE)")
    rows = []
    for at, one in enumerate(series):
        form = forms[min(one.file, len(forms) - 1)] if forms else None
        rows.append([at, int(codes[at]), form.to_ms if form else 1.0, form.zero if form else 0.0])
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        values = ", ".join(f"({n}, {code}, {to_ms!r}, {zero!r})" for n, code, to_ms, zero in part)
        database.execute(f"INSERT INTO coded VALUES {values}")
    database.execute(
        "CREATE VIEW usable AS SELECT s.code, s.number, (r.time - s.zero) * s.to_ms AS ms, r.rowid AS row, "
        "r.* EXCLUDE (time) FROM readings r JOIN (SELECT * FROM series JOIN coded USING (number)) s "
        "ON r.file = s.file AND r.key = s.key WHERE r.fault = 0"
    )


def origin_of(mapping: Mapping, database: duckdb.DuckDBPyConnection, *, relative: bool, ends_now: bool) -> int:
    """What is added to the times, ms."""
    first, last = first_row(database.execute("SELECT min(ms), max(ms) FROM usable")) or (None, None)
    if first is None:
        return 0
    if mapping.start_ms is not None:
        return mapping.start_ms if relative else mapping.start_ms - round(first)
    if not relative:
        return 0
    return time.time_ns() // 1_000_000 - round(last) if ends_now else RELATIVE_START_MS


def leave_out(
    loaded: Loaded, condition: str, fault: Fault, database: duckdb.DuckDBPyConnection, rule: str = ""
) -> None:
    """Mark the usable readings of a condition, which no worker takes."""
    counts = database.execute(
        f"SELECT file, count(*) FROM usable WHERE {condition} GROUP BY file ORDER BY file"
    ).fetchall()
    if counts:
        database.execute(
            f"UPDATE readings SET fault = {int(fault)} WHERE rowid IN (SELECT row FROM usable WHERE {condition})"
        )
    for file, count in counts:
        loaded.note(int(file), fault, int(count), database, rule or None)


def leave_out_bad_names(loaded: Loaded, series: Sequence[Series], database: duckdb.DuckDBPyConnection) -> None:
    """Leave out readings whose key or group breaks a rule of its field, such as its length."""
    source = loaded.source
    for number, one in enumerate(series):
        whole = {source.key: one.key, source.group: one.group, source.time: 1}
        try:
            source.record_model.model_validate(whole)
        except ValidationError as error:
            texts = [
                fault.text for fault in faults(error, with_values=False) if set(fault.at) & {source.key, source.group}
            ]
            if texts:
                leave_out(loaded, f"number = {number}", Fault.BAD_NAME, database, "; ".join(texts))


def outside_event_times(pipeline: Pipeline, origin: int) -> str:
    """SQL of times that no worker takes."""
    limits = pipeline.input.rules(pipeline.input.time)
    return f"ms + {origin} < {EARLIEST_MS} OR ms + {origin} > {limits.high}"


def by_code(codes: Int, values: Float, join: Callable[[Any], Any] = np.nanmedian) -> dict[int, float]:
    """One value for each key, of those of its series."""
    order = np.argsort(codes, kind="stable")
    found, start = np.unique(codes[order], return_index=True)
    parts = np.split(values[order], start[1:])
    return {
        int(c): float(join(p)) if not np.isnan(p).all() else float("nan") for c, p in zip(found, parts, strict=True)
    }
