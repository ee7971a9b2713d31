"""Which column of a file is which field of a reading."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import UserError
from worker.config.pipeline import Pipeline

SCALED_BY = {"voltage_v": "cells_in_series", "current_a": "capacity_ah"}
"""Sensor -> parameter of the topology it grows with: series cells add voltage, capacity adds current at one C-rate."""


@dataclass(frozen=True)
class Source:
    """A file's column, and 1 or -1 to multiply it by."""

    column: str
    sign: int = 1


@dataclass(frozen=True)
class Mapping:
    """What the user says about a file. All of it may be left out for a file with our own or the older names.

    Attributes:
        columns: our field -> the file's column.
        key_columns: the file's columns that make the key, joined by "/"; wins over `columns`.
        key: key (module) of every row of a file without such a column; by default such a file is refused.
        group: group (rack) of every row of a file without such a column; by default the file's name.
        topology: how what was recorded is built; readings are then rescaled to the pipeline's topology.
        start_ms: event time (ms) that the recording is moved to begin at.
    """

    columns: dict[str, Source] = field(default_factory=dict)
    key_columns: tuple[str, ...] = ()
    key: str | None = None
    group: str | None = None
    topology: dict[str, float] = field(default_factory=dict)
    start_ms: int | None = None


@dataclass(frozen=True)
class Sources:
    """Where each field of a reading comes from in one file; no `key` and no `group` where it has no such column."""

    key: tuple[str, ...]
    group: str | None
    time: str
    sensors: dict[str, Source]

    @property
    def columns(self) -> list[str]:
        """Every column that is needed, once."""
        names = [*self.key, self.time, *(source.column for source in self.sensors.values())]
        return list(dict.fromkeys([*names, self.group] if self.group is not None else names))


def parse_mapping(
    columns: str | None,
    key_columns: str | None,
    group: str | None,
    topology: str | None,
    *,
    start_ms: int | None = None,
) -> Mapping:
    """A mapping from the words of a command line.

    Raises:
        UserError: `columns` or `topology` is not written as it should be.
    """
    return Mapping(
        columns=parse_columns(columns) if columns else {},
        key_columns=tuple(part.strip() for part in key_columns.split(",")) if key_columns else (),
        group=group,
        topology=parse_topology(topology) if topology else {},
        start_ms=start_ms,
    )


def parse_columns(text: str) -> dict[str, Source]:
    """Read `OURS=THEIRS,…`; a minus before THEIRS turns the sign.

    Raises:
        UserError: it is not written like that, or names a field of ours twice.
    """
    columns: dict[str, Source] = {}
    for ours, theirs in _pairs("--columns", text, "ts=t_s,voltage_v=V_V,current_a=-I_A"):
        turned = theirs.startswith("-")
        columns[ours] = Source(theirs.removeprefix("-"), -1 if turned else 1)
    return columns


def parse_topology(text: str) -> dict[str, float]:
    """Read `cells_in_series=1,capacity_ah=2.6`.

    Raises:
        UserError: it is not written like that, a parameter is unknown, or a value is not a number above 0.
    """
    example = "cells_in_series=1,capacity_ah=2.6"
    topology: dict[str, float] = {}
    for name, value in _pairs("--topology", text, example):
        if name not in SCALED_BY.values():
            raise UserError(f"--topology: no parameter {name!r}; there are {', '.join(SCALED_BY.values())}")
        if not re.fullmatch(r"\d*\.?\d+([eE][+-]?\d+)?|\d+\.", value) or not 0 < float(value) < float("inf"):
            raise UserError(f"--topology: {name}={value} is not a number above 0; write for example {example}")
        topology[name] = float(value)
    return topology


def _pairs(option: str, text: str, example: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value.removeprefix("-")):
            raise UserError(f"{option}: {part!r} is not NAME=VALUE; write for example {example}")
        if name in dict(pairs):
            raise UserError(f"{option}: {name} is given twice; keep one")
        pairs.append((name, value))
    return pairs


def find_sources(file_columns: Sequence[str], mapping: Mapping, pipeline: Pipeline) -> Sources:
    """Find each field among a file's columns: as mapped, else by our name, else by an older one (Avro aliases).

    Raises:
        UserError: the mapping names what is not there, or key, time or every sensor is missing.
    """
    source = pipeline.input
    aliases = {f["name"]: (f["name"], *f.get("aliases", ())) for f in source.avro_schema["fields"]}
    there = ", ".join(file_columns)
    if unknown := [ours for ours in mapping.columns if ours not in aliases]:
        raise UserError(f"--columns: a reading has no field {', '.join(unknown)}; it has {', '.join(aliases)}")
    named = [*mapping.key_columns, *(mapped.column for mapped in mapping.columns.values())]
    if absent := [name for name in named if name not in file_columns]:
        raise UserError(f"the file has no column {', '.join(absent)}; it has {there}")
    for ours in (source.key, source.group, source.time):
        if ours in mapping.columns and mapping.columns[ours].sign < 0:
            raise UserError(f"--columns: {ours} is no measurement whose sign could be turned; leave the minus out")

    def find(ours: str) -> Source | None:
        known = (name for name in aliases[ours] if name in file_columns)
        return mapping.columns.get(ours) or next((Source(name) for name in known), None)

    key, time, group = find(source.key), find(source.time), find(source.group)
    key_columns = mapping.key_columns or ((key.column,) if key else ())
    if not key_columns and mapping.key is None:
        raise UserError(
            f"no column holds {source.key}; say which with --columns {source.key}=COLUMN or --key-columns; "
            f"the file has {there}"
        )
    if time is None:
        raise UserError(
            f"no column holds {source.time}; say which with --columns {source.time}=COLUMN; the file has {there}"
        )
    sensors = {ours: found for ours in source.sensors() if (found := find(ours)) is not None}
    if not sensors:
        raise UserError(
            f"no column holds a sensor ({', '.join(source.sensors())}); say which with --columns; the file has {there}"
        )
    return Sources(key_columns, group.column if group else None, time.column, sensors)
