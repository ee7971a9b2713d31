"""Recorded readings as columns in order of event time, rescaled to the topology that the pipeline declares."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from common.errors import UserError
from common.validation_errors import Fault
from common.validation_errors import faults as faults_of
from producers.recordings.convert import time_form, to_numbers, to_text, to_times_ms
from producers.recordings.mapping import Mapping, Sources, find_sources
from producers.recordings.tables import BadRow, Table, column_names, read_columns
from worker.config.pipeline import Pipeline
from worker.score.event_time import EARLIEST_MS

SHOWN = 5
"""How many bad rows messages and summaries list."""


@dataclass(frozen=True)
class Recording:
    """Readings of a file, oldest first; rows of equal time in the file's order.

    Attributes:
        keys: the keys; `groups`: the group of each.
        key: [n] index into both.
        ts: [n] event time, ms since the Unix epoch.
        values: [n, sensors] float64 in the order of `Input.sensors()`, NaN where missing, in units of the pipeline's
            topology.
        bad: rows that were skipped, in the order of the file.
        unit: what `BadRow.place` counts: "line" or "row".
        start_ms: event time that the recording was moved to begin at; None: its own times are used.
    """

    keys: list[str]
    groups: list[str]
    key: NDArray[np.int64]
    ts: NDArray[np.int64]
    values: NDArray[np.float64]
    bad: list[BadRow]
    unit: str
    start_ms: int | None


class _Faults:
    """Collects the first fault of each row."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.rows = np.zeros(len(table.place), bool)
        self.bad = list(table.broken)

    def add(self, rows: NDArray[np.bool_], column: str, rule: str) -> None:
        for row in np.flatnonzero(rows & ~self.rows):
            self.add_row(int(row), column, rule)

    def add_row(self, row: int, column: str, rule: str) -> None:
        self.rows[row] = True
        value = self._table.columns[column][row].as_py() if column else ""
        self.bad.append(BadRow(int(self._table.place[row]), column, "" if value is None else str(value), rule))


def read_recording(path: Path, pipeline: Pipeline, mapping: Mapping, *, skip_bad: bool = False) -> Recording:
    """Read a CSV or Parquet file whole.

    With `mapping.topology`, readings are rescaled to the topology that the pipeline file declares for their key: a
    field of `topology.per` is multiplied by the declared parameter over the recorded one. Features that are divided
    by the parameter, and so the scores, stay those of the recorded equipment.

    Args:
        path: a .csv or .parquet file.
        pipeline: names the fields, their ranges and the topology.
        mapping: the file's columns.
        skip_bad: skip bad rows instead of raising.

    Raises:
        UserError: the file or mapping cannot be used, no row is usable, or (without `skip_bad`) a row is bad. The text
            names line, column, value and rule.
    """
    sources = find_sources(column_names(path), mapping, pipeline)
    table = read_columns(path, sources.columns)
    faults = _Faults(table)
    identity, names = _identities(table, sources, mapping.group or path.stem, faults, pipeline)
    ts, start_ms = _times(table, sources, mapping.start_ms, faults, pipeline)
    factors = rescaling(pipeline, names, mapping.topology)
    values = _values(table, sources, factors[identity], faults, pipeline)
    bad = sorted(faults.bad, key=lambda row: row.place)
    if bad and not skip_bad:
        raise UserError(f"{path}: {shown(bad, table.unit)}; correct the file, or skip such rows with --skip-bad")
    good = np.flatnonzero(~faults.rows)
    if not len(good):
        because = f": {shown(bad, table.unit)}" if bad else ""
        raise UserError(f"{path} holds no usable row{because}; check file and --columns")
    order = good[np.argsort(ts[good], kind="stable")]
    keys, groups = [key for key, _ in names], [group for _, group in names]
    return Recording(keys, groups, identity[order], ts[order], values[order], bad, table.unit, start_ms)


def shown(bad: list[BadRow], unit: str) -> str:
    """Text that lists the first few bad rows."""
    parts = [
        f"{unit} {row.place}" + (f", column {row.column}" if row.column else "") + f": {row.value!r}: {row.rule}"
        for row in bad[:SHOWN]
    ]
    return "; ".join(parts) + (f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")


def _identities(
    table: Table, sources: Sources, default_group: str, faults: _Faults, pipeline: Pipeline
) -> tuple[NDArray[np.int64], list[tuple[str, str]]]:
    parts = [to_text(table.columns[name]).to_pandas() for name in sources.key]
    for name, part in zip(sources.key, parts, strict=True):
        faults.add((part == "").to_numpy(), name, f"no {pipeline.input.key}")
    keys = parts[0].str.cat(parts[1:], sep="/") if len(parts) > 1 else parts[0]
    if sources.group is None:
        groups = pd.Series(default_group, index=keys.index)
    else:
        groups = to_text(table.columns[sources.group]).to_pandas()
        faults.add((groups == "").to_numpy(), sources.group, f"no {pipeline.input.group}")
    identity, unique = pd.MultiIndex.from_arrays([keys, groups]).factorize()
    names: list[tuple[str, str]] = [(str(key), str(group)) for key, group in unique]
    for code, (key, group) in enumerate(names):
        for fault in _broken_rules(pipeline, {pipeline.input.key: key, pipeline.input.group: group}):
            column = sources.group if fault.at == (pipeline.input.group,) else sources.key[0]
            faults.add(identity == code, column or "", fault.words)
    return identity.astype(np.int64), names


def _times(
    table: Table, sources: Sources, start_ms: int | None, faults: _Faults, pipeline: Pipeline
) -> tuple[NDArray[np.int64], int | None]:
    form = time_form(table.columns[sources.time])
    ms, wrong = to_times_ms(table.columns[sources.time], form)
    faults.add(
        wrong,
        sources.time,
        "is not a time; write ISO 8601, seconds or milliseconds since 1970, or seconds from the start",
    )
    faults.add(np.isnan(ms), sources.time, f"no {pipeline.input.time}")
    usable = ms[~faults.rows & np.isfinite(ms)]
    first, last = (float(usable.min()), float(usable.max())) if len(usable) else (0.0, 0.0)
    if form.relative and start_ms is None:
        # By default the recording ends now.
        start_ms = time.time_ns() // 1_000_000 - round(last)
    zero = 0.0
    if start_ms is not None:
        zero = start_ms if form.relative else start_ms - first
    limits = pipeline.input.rules(pipeline.input.time)
    moved = np.rint(ms + zero)
    faults.add(~((moved >= limits.low) & (moved <= limits.high)), sources.time, "is outside the range of event times")
    faults.add(moved < EARLIEST_MS, sources.time, "is before 2000, which workers reject; give a later --start")
    return np.where(faults.rows, 0, moved).astype(np.int64), start_ms


def rescaling(pipeline: Pipeline, names: list[tuple[str, str]], topology: dict[str, float]) -> NDArray[np.float64]:
    """Factors for the sensors of each key, shape [keys, sensors].

    Args:
        pipeline: declares the topology that readings are rescaled to.
        names: key and group of each key.
        topology: parameters of the recorded equipment.

    Raises:
        UserError: no field of the pipeline depends on a parameter of `topology`, or a key declares no value for it.
    """
    per = pipeline.topology.per
    if unknown := topology.keys() - set(per.values()):
        known = f"it has {', '.join(sorted(set(per.values())))}" if per else "it has none"
        raise UserError(
            f"--topology: no field depends on {', '.join(sorted(unknown))} by topology.per of pipeline "
            f"{pipeline.name}; {known}"
        )
    sensors = pipeline.input.sensors()
    factors = np.ones((len(names), len(sensors)))
    for sensor, parameter in per.items():
        if parameter not in topology or sensor not in sensors:
            continue
        for row, (key, group) in enumerate(names):
            declared = pipeline.topology.of(key, group)
            if parameter not in declared:
                raise UserError(
                    f"--topology gives {parameter}, but pipeline {pipeline.name} declares no {parameter} for {key}; "
                    "add it under topology in the pipeline file"
                )
            factors[row, sensors.index(sensor)] = declared[parameter] / topology[parameter]
    return factors


def _values(
    table: Table, sources: Sources, factors: NDArray[np.float64], faults: _Faults, pipeline: Pipeline
) -> NDArray[np.float64]:
    sensors = pipeline.input.sensors()
    values = np.full(factors.shape, np.nan)
    largest = np.finfo(np.float64).max
    for sensor, source in sources.sensors.items():
        at = sensors.index(sensor)
        numbers, wrong = to_numbers(table.columns[source.column])
        faults.add(wrong, source.column, "is not a number")
        values[:, at] = column = numbers * source.sign * factors[:, at]
        limits = pipeline.input.rules(sensor)
        inside = (column >= max(limits.low, -largest)) & (column <= min(limits.high, largest))
        for row in np.flatnonzero(~inside & ~np.isnan(column) & ~faults.rows):
            rules = [f.text for f in _broken_rules(pipeline, {sensor: float(column[row])}) if f.at == (sensor,)]
            became = "" if column[row] == numbers[row] else f" (as {sensor} it is {column[row]:g})"
            faults.add_row(int(row), source.column, f"{sensor}: {'; '.join(rules)}{became}")
    faults.add(np.isnan(values).all(axis=1), "", "no sensor has a value")
    return values


def _broken_rules(pipeline: Pipeline, fields: dict[str, object]) -> list[Fault]:
    # Without values: every bad row is shown with its own.
    source = pipeline.input
    whole = {source.key: "any", source.group: "any", source.time: 1, **fields}
    try:
        source.record_model.model_validate(whole)
    except ValidationError as error:
        return faults_of(error, with_values=False)
    return []
