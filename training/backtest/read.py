"""Reads recorded files into a spool on disk, and counts rows and values that cannot be used."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.arrays import Bool, Float, Int
from common.errors import UserError
from producers.recordings.convert import TimeForm, time_form, to_numbers, to_text, to_times_ms
from producers.recordings.mapping import Mapping, Sources, find_sources
from producers.recordings.recording import SHOWN, rescaling, shown
from producers.recordings.tables import BadRow, Table, column_names, is_table, iter_columns
from training.backtest.spool import Spool
from worker.config.pipeline import Pipeline

RELATIVE_START_MS = 1_600_000_000_000
"""Start time of recordings that count seconds from a start: fixed, so that a file always gives the same result."""


@dataclass
class Recorded:
    """What was read from the files.

    Attributes:
        names: key and group of each key.
        sensors: the pipeline's sensors that the recording has, in the order of its columns on disk.
        relative: whether times count from RELATIVE_START_MS.
        times: description of the files' time format.
        rows: number of rows in the files.
        left_out: number of rows without a usable reading, by reason.
        examples: descriptions of the first few of them.
        not_numbers: number of values that are not numbers and count as missing, by column.
    """

    spool: Spool
    names: list[tuple[str, str]] = field(default_factory=list)
    sensors: tuple[str, ...] = ()
    relative: bool = False
    times: str = ""
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    not_numbers: Counter[str] = field(default_factory=Counter)


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The given files, and all tables in the given directories.

    Raises:
        UserError: a directory holds no table, or a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.is_file() and is_table(p)) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path} holds no .csv and no .parquet file; name files, or another directory")
        files += inside
    return files


def read_files(
    paths: Sequence[Path],
    pipeline: Pipeline,
    mapping: Mapping,
    directory: Path,
    *,
    label_column: str | None = None,
    progress: Callable[[str], None] = lambda _file: None,
) -> Recorded:
    """Read recordings into a spool.

    A file without a key column is one key with the name of the file. If several files count time from a start, equal
    names in them are different keys, and each gets its file's name as a prefix.

    Args:
        paths: files, and directories of files.
        pipeline: declares fields and topology.
        mapping: the files' columns.
        directory: for the spool.
        label_column: column that is 1 from the event on.
        progress: called with the name of each file.

    Raises:
        UserError: a file cannot be used, or none holds a usable row.
    """
    files = files_in(paths)
    found = [_sources(path, pipeline, mapping, label_column) for path in files]
    sensors = tuple(s for s in pipeline.input.sensors() if any(s in sources.sensors for sources in found))
    recorded = Recorded(Spool(directory, len(sensors)), sensors=sensors)
    reader = _Reader(recorded, pipeline, mapping, label_column, several=len(files) > 1)
    for path, sources in zip(files, found, strict=True):
        progress(path.name)
        reader.read(path, sources)
    if not len(recorded.spool):
        why = f": {'; '.join(recorded.examples)}" if recorded.examples else ""
        raise UserError(f"{', '.join(map(str, paths))}: no usable row{why}; check the file and --columns")
    return recorded


def _sources(path: Path, pipeline: Pipeline, mapping: Mapping, label_column: str | None) -> Sources:
    there = column_names(path)
    if label_column is not None and label_column not in there:
        raise UserError(f"--label-column: {path} has no column {label_column}; it has {', '.join(there)}")
    try:
        return find_sources(there, replace(mapping, key=path.stem), pipeline)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


class _Reader:
    def __init__(
        self, recorded: Recorded, pipeline: Pipeline, mapping: Mapping, label_column: str | None, *, several: bool
    ) -> None:
        self._recorded, self._pipeline, self._mapping = recorded, pipeline, mapping
        self._label_column, self._several = label_column, several
        self._codes: dict[str, int] = {}
        self._factors = np.empty((0, len(pipeline.input.sensors())))

    def read(self, path: Path, sources: Sources) -> None:
        recorded, form = self._recorded, None
        columns = list(dict.fromkeys([*sources.columns, *([self._label_column] if self._label_column else [])]))
        for table in iter_columns(path, columns):
            recorded.rows += len(table.place) + len(table.broken)
            self._leave_out(path, table.broken, table.unit, "broken rows")
            if not len(table.place):
                continue
            if form is None:
                form = time_form(table.columns[sources.time])
                self._settle(path, form)
            self._add(path, table, sources, form)

    def _settle(self, path: Path, form: TimeForm) -> None:
        recorded = self._recorded
        if recorded.times and form.relative != recorded.relative:
            raise UserError(
                f"{path} has times as {form.description}, but an earlier file has {recorded.times}; "
                "give files with one time format, or convert them"
            )
        recorded.relative, recorded.times = form.relative, form.description

    def _add(self, path: Path, table: Table, sources: Sources, form: TimeForm) -> None:
        recorded = self._recorded
        ms, no_time = to_times_ms(table.columns[sources.time], form)
        no_time |= ~np.isfinite(ms)
        key, no_key = self._keys(path, table, sources, form)
        values = self._values(table, sources, key)
        label = self._labels(table)
        bad = [("no time", no_time, sources.time), ("no key", no_key, (sources.key or ("",))[0])]
        usable = np.ones(len(ms), np.bool_)
        for why, rows, column in bad:
            at = np.flatnonzero(rows & usable)
            usable &= ~rows
            texts = [
                BadRow(int(table.place[r]), column, str(table.columns[column][int(r)].as_py() or ""), why)
                for r in at[:SHOWN].tolist()
            ]
            self._leave_out(path, texts, table.unit, why, len(at))
        # Rows without any sensor value are kept as well: they may carry a label.
        ts = np.rint(np.where(usable, ms, 0) + (RELATIVE_START_MS if form.relative else 0)).astype(np.int64)
        recorded.spool.add(key[usable], ts[usable], label[usable], values[usable])

    def _leave_out(self, path: Path, rows: list[BadRow], unit: str, why: str, count: int | None = None) -> None:
        recorded = self._recorded
        count = len(rows) if count is None else count
        if count:
            recorded.left_out[why] += count
            if len(recorded.examples) < SHOWN:
                recorded.examples.append(f"{path.name}: {shown(rows[:1], unit)}")

    def _keys(self, path: Path, table: Table, sources: Sources, form: TimeForm) -> tuple[Int, Bool]:
        n = len(table.place)
        if sources.key:
            parts = [to_text(table.columns[name]) for name in sources.key]
            keys = pc.binary_join_element_wise(*parts, "/") if len(parts) > 1 else parts[0]
            missing = np.logical_or.reduce([pc.equal(part, "").to_numpy() for part in parts])
            if self._several and form.relative:
                keys = pc.binary_join_element_wise(pa.scalar(path.stem), keys, ":")
        else:
            keys, missing = pa.chunked_array([pa.repeat(path.stem, n)]), np.zeros(n, np.bool_)
        groups = (
            pa.chunked_array([pa.repeat(self._mapping.group or path.stem, n)])
            if sources.group is None
            else to_text(table.columns[sources.group])
        )
        key, group = (column.combine_chunks().dictionary_encode() for column in (keys, groups))
        key_names, group_names = key.dictionary.to_pylist(), group.dictionary.to_pylist()
        pair = key.indices.to_numpy().astype(np.int64) * len(group_names) + group.indices.to_numpy()
        pairs, place = np.unique(pair, return_inverse=True)
        named = [(key_names[p // len(group_names)], group_names[p % len(group_names)]) for p in pairs.tolist()]
        return np.array([self._code(name) for name in named], np.int64)[place], missing

    def _code(self, name: tuple[str, str]) -> int:
        # As in a worker, the group does not belong to the identity: the first one seen is used.
        if name[0] not in self._codes:
            self._codes[name[0]] = len(self._codes)
            self._recorded.names.append(name)
            self._factors = np.concatenate((self._factors, rescaling(self._pipeline, [name], self._mapping.topology)))
        return self._codes[name[0]]

    def _values(self, table: Table, sources: Sources, key: Int) -> Float:
        recorded, sensors = self._recorded, self._pipeline.input.sensors()
        values = np.full((len(key), len(recorded.sensors)), np.nan)
        for at, sensor in enumerate(recorded.sensors):
            if (source := sources.sensors.get(sensor)) is not None:
                numbers, wrong = to_numbers(table.columns[source.column])
                if wrong.any():
                    recorded.not_numbers[source.column] += int(wrong.sum())
                values[:, at] = numbers * source.sign * self._factors[key, sensors.index(sensor)]
        return values

    def _labels(self, table: Table) -> Bool:
        if self._label_column is None:
            return np.zeros(len(table.place), np.bool_)
        column = table.columns[self._label_column]
        if pa.types.is_boolean(column.type):
            return np.asarray(pc.fill_null(column, fill_value=False).to_numpy())
        numbers, wrong = to_numbers(column)
        if wrong.any():
            words = pc.utf8_lower(to_text(column))
            true = pc.is_in(words, value_set=pa.array(["true", "yes"])).to_numpy()
            false = pc.is_in(words, value_set=pa.array(["false", "no"])).to_numpy()
            if bad := sorted({str(column[int(r)].as_py()) for r in np.flatnonzero(wrong & ~true & ~false)[:1000]}):
                raise UserError(
                    f"--label-column {self._label_column} holds {', '.join(bad[:SHOWN])}; "
                    "write 1 (or true) from the event on, and 0 (or false) before"
                )
            return np.asarray(true | (numbers > 0.5))
        with np.errstate(invalid="ignore"):
            return np.asarray(numbers > 0.5)
