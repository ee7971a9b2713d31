"""A recording of any length: its readings as columns, by key or by time, rescaled to the topology of the pipeline."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import numpy as np
import pyarrow as pa

from common.arrays import Float, Int
from common.errors import UserError
from common.text import shown
from producers.recordings.bad_rows import SHOWN
from producers.recordings.database import open_database, quoted
from producers.recordings.faults import Fault
from producers.recordings.files import files_in
from producers.recordings.label_values import require_labels
from producers.recordings.load import Loaded, load
from producers.recordings.mapping import Mapping
from producers.recordings.piece import Piece, Span
from producers.recordings.rescaling import rescaling
from producers.recordings.series import (
    by_code,
    find_series,
    leave_out,
    leave_out_bad_names,
    names_of,
    number_forms,
    origin_of,
    outside_event_times,
    write_codes,
)
from producers.recordings.survey import survey
from producers.recordings.thin import thinned
from producers.recordings.time_numbers import NumberForm
from worker.config.pipeline import Pipeline

PIECE = 8_192
"""Readings per piece: bounds memory. Does not change the result."""


@dataclass
class Recording:
    """Readings of files, in a temporary database. Close it, or use it in a `with`.

    Attributes:
        loaded: what was read, and what could not be used.
        names: key and group of each key.
        sensors: those of the pipeline that the recording has: the columns of its pieces.
        spans: number, first and last time of each key's readings.
        periods_ms: median time between two readings of each key.
        backwards: how often each key's time runs backwards in the order of the files.
        repeated: how many readings have the time of the one before them in the order of the files.
        relative: whether times count from `origin_ms`.
        times: description of the time format.
        origin_ms: what was added to the files' times.
        database: holds the readings.
    """

    loaded: Loaded
    names: list[tuple[str, str]]
    sensors: tuple[str, ...]
    spans: dict[int, Span]
    periods_ms: dict[int, float]
    backwards: dict[int, int]
    repeated: int
    relative: bool
    times: str
    origin_ms: int
    database: duckdb.DuckDBPyConnection
    _directory: tempfile.TemporaryDirectory[str]
    _factors: Float | None
    _limits: tuple[Float, Float]
    _ordered: dict[str, bool]

    def __len__(self) -> int:
        return sum(span.readings for span in self.spans.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self.database.close()
        self._directory.cleanup()

    def pieces(self, codes: range | None = None) -> Iterator[Piece]:
        """All readings, or those of these keys, by key, then time, then order in the files. Any thread may call it."""
        chosen = "" if codes is None else f"WHERE code BETWEEN {codes.start} AND {codes.stop - 1}"
        return self._pieces(chosen if self._ordered["key"] else f"{chosen} ORDER BY code, ms, row")

    def by_time(self, after: int = 0) -> Iterator[Piece]:
        """All readings by time, then order in the files, but for the first `after`."""
        order = "" if self._ordered["time"] else "ORDER BY ms, row"
        return self._pieces(f"{order} OFFSET {after}" if after else order)

    def thinned_pieces(self, every_ms: MappingOf[int, int], codes: range | None = None) -> Iterator[Piece]:
        """The same, one per period of each key in ms; 0 keeps all (see `thinned`)."""
        pieces, first_ts = self.pieces(codes), {code: span.first_ts for code, span in self.spans.items()}
        return thinned(pieces, every_ms, first_ts, self._limits) if any(every_ms.values()) else pieces

    def thin(self, every_ms: int) -> None:
        """Keep one reading per period and key (see `thinned`)."""
        keys = dict.fromkeys(self.spans, every_ms)
        writer, columns = (
            self.database.cursor(),
            "".join(f", {quoted(sensor)} DOUBLE" for sensor in self.sensors),
        )
        writer.execute(f"CREATE TABLE kept (code INTEGER, ms DOUBLE, label TINYINT{columns})")
        for piece in self.thinned_pieces(keys):
            named = {f"c{i}": piece.values[:, i] for i in range(len(self.sensors))}
            ms, label = piece.ts - self.origin_ms, piece.label.astype(np.int8)
            # A missing value is null in the database, NaN here.
            rows = pa.table({"code": piece.key, "ms": ms, "label": label} | named)
            values = "".join(f", nullif(c{i}, 'nan'::DOUBLE)" for i in range(len(self.sensors)))
            writer.register("piece", rows)
            writer.execute(f"INSERT INTO kept SELECT code, ms, label{values} FROM piece")
        self.database.execute("CREATE OR REPLACE VIEW usable AS SELECT rowid AS row, * FROM kept")
        self._factors, self._ordered = None, {"key": True, "time": False}
        ends = self.database.execute(_ENDS).fetchall()
        self.spans = {int(code): _span(n, first, last, self.origin_ms) for code, n, first, last in ends}

    def factor(self, sensor: str) -> float:
        """The largest factor by which any key's values of a sensor are rescaled."""
        return 1.0 if self._factors is None else float(self._factors[:, self.sensors.index(sensor)].max())

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of SQL over the table `readings` (see `load`) or the view `usable`, which has `code` and `ms`, too."""
        rows: list[tuple[Any, ...]] = self.database.execute(sql).fetchall()
        return rows

    def _pieces(self, order: str) -> Iterator[Piece]:
        columns = "".join(f", coalesce({quoted(sensor)}, 'nan'::DOUBLE)" for sensor in self.sensors)
        rows = self.database.cursor().sql(f"SELECT code, ms, label{columns} FROM usable {order}")
        for batch in rows.to_arrow_reader(PIECE):
            # Without nulls, and without pandas, which pyarrow's own conversion loads.
            code, ms, label, *measured = map(np.from_dlpack, batch.columns)
            values = np.empty((len(code), len(self.sensors)))
            for at, column in enumerate(measured):
                values[:, at] = column
            key, ts = code.astype(np.int64), np.rint(ms + self.origin_ms).astype(np.int64)
            yield Piece(key, ts, label == 1, values if self._factors is None else values * self._factors[key])


def open_recording(
    paths: Sequence[Path],
    pipeline: Pipeline,
    mapping: Mapping,
    *,
    label: str | None = None,
    ends_now: bool = False,
    progress: Callable[[str], None] = lambda _file: None,
) -> Recording:
    """Read files, directories of files, or patterns.

    A file without a key column is one key with the name of the file. If several files count time from a start, equal
    names in them are different keys, and each gets its file's name as a prefix.

    Args:
        paths: of the files.
        pipeline: declares fields and topology.
        mapping: what the user says about the files.
        label: column or expression that is 1 from an event on.
        ends_now: a recording that counts from a start, and has no `mapping.start_ms`, ends now. Otherwise it begins
            at `RELATIVE_START_MS`.
        progress: called with the name of each file.

    Raises:
        UserError: a file cannot be used, or none holds a usable row.
    """
    files = files_in(paths)
    directory = tempfile.TemporaryDirectory(prefix="hazardstream-recording-")
    database = None
    try:
        database = _database(Path(directory.name), files, mapping)
        loaded = load(files, pipeline, mapping, database, Path(directory.name), label=label, progress=progress)
        require_labels(loaded, label, database)
        return _opened(loaded, pipeline, mapping, database, directory, ends_now=ends_now)
    except BaseException:
        if database is not None:
            database.close()
        directory.cleanup()
        raise


def _database(directory: Path, files: Sequence[Path], mapping: Mapping) -> duckdb.DuckDBPyConnection:
    zone = mapping.time_zone or "UTC"
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(f"--time-zone: {shown(zone)} is not a time zone; write for example Europe/Berlin") from error
    copies = [
        directory / f"{kind}{n}{end}" for n in range(len(files)) for kind, end in (("text", ""), ("sheet", ".csv"))
    ]
    return open_database(directory, [*files, *copies], zone)


def _opened(
    loaded: Loaded,
    pipeline: Pipeline,
    mapping: Mapping,
    database: duckdb.DuckDBPyConnection,
    directory: tempfile.TemporaryDirectory[str],
    *,
    ends_now: bool,
) -> Recording:
    series = find_series(database)
    seen = survey(len(series), database)
    forms = number_forms(loaded, mapping, pipeline, seen, series, database)
    relative = forms[0].relative if forms else loaded.relative
    names, codes = names_of(series, loaded, mapping, relative=relative)
    write_codes(series, codes, forms, database)
    origin = origin_of(mapping, database, relative=relative, ends_now=ends_now)
    if not relative:
        leave_out(loaded, outside_event_times(pipeline, origin), Fault.EARLY, database)
    leave_out_bad_names(loaded, series, database)
    ends = database.execute(_ENDS).fetchall()
    if not ends:
        raise UserError(nothing_usable(loaded))
    to_ms = np.array([forms[min(one.file, len(forms) - 1)].to_ms if forms else 1.0 for one in series])
    sensors = tuple(s for s in pipeline.input.sensors() if any(s in found.sensors for found in loaded.sources))
    factors = rescaling(pipeline, names, mapping.topology)
    factors = factors[:, [pipeline.input.sensors().index(sensor) for sensor in sensors]]
    sorted_codes = bool((np.diff(codes) > 0).all())
    return Recording(
        loaded=loaded,
        names=names,
        sensors=sensors,
        spans={int(code): _span(n, first, last, origin) for code, n, first, last in ends},
        periods_ms=_periods(codes, seen.step * to_ms),
        backwards={
            code: int(count) for code, count in by_code(codes, seen.backwards.astype(np.float64), np.sum).items()
        },
        repeated=int(seen.repeated.sum()),
        relative=relative,
        times=_times(forms, loaded),
        origin_ms=origin,
        database=database,
        _directory=directory,
        _factors=factors if (factors != 1).any() else None,
        _limits=_limits(pipeline, sensors),
        _ordered={"key": seen.by_series and sorted_codes, "time": seen.by_time and len(set(forms)) <= 1},
    )


def _limits(pipeline: Pipeline, sensors: Sequence[str]) -> tuple[Float, Float]:
    """Least and greatest value of each sensor that a worker does not mask."""
    rules = [pipeline.input.rules(sensor) for sensor in sensors]
    return np.array([rule.low for rule in rules], np.float64), np.array([rule.high for rule in rules], np.float64)


_ENDS = "SELECT code, count(*), min(ms), max(ms) FROM usable GROUP BY code ORDER BY code"


def _span(readings: int, first_ms: float, last_ms: float, origin_ms: int) -> Span:
    first, last = np.rint(np.array([first_ms, last_ms]) + origin_ms).astype(np.int64).tolist()
    return Span(readings, first, last)


def _periods(codes: Int, step_ms: Float) -> dict[int, float]:
    """Median period of each key; for a key with one time, that of the others."""
    found = by_code(codes, step_ms)
    usual = [period for period in found.values() if not np.isnan(period)]
    fallback = float(np.median(usual)) if usual else np.nan
    return {code: fallback if np.isnan(period) else period for code, period in found.items()}


def _times(forms: Sequence[NumberForm], loaded: Loaded) -> str:
    if forms:
        return forms[0].description
    if loaded.form is not None:
        return loaded.form.description
    return "spans from the start" if loaded.relative else "timestamps"


def nothing_usable(loaded: Loaded) -> str:
    """Why no row can be used."""
    files = ", ".join(shown(table.path) for table in loaded.tables[:SHOWN])
    why = "; ".join(str(row) for row in loaded.bad[:SHOWN]) or "; ".join(
        f"{n} {what}" for what, n in loaded.told.items()
    )
    return f"{files} holds no usable row{': ' + why if why else ''}; check the file and --columns"
