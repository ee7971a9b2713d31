"""Which column of a file holds which field of a reading."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import UserError
from worker.config.pipeline import Pipeline


@dataclass(frozen=True)
class Source:
    """A file's column, and 1 or -1 to multiply it by."""

    column: str
    sign: int = 1


@dataclass(frozen=True)
class Mapping:
    """What the user says about a file. Not needed for a file whose columns have the fields' names or their aliases.

    Attributes:
        columns: field -> the file's column.
        key_columns: the file's columns that make up the key, joined by "/". Wins over `columns`.
        key: key of every row, for a file without a key column. Without it, such a file is an error.
        group: group of every row, for a file without a group column. Default: the file's name.
        topology: how the recorded equipment is built. Readings are then rescaled to the pipeline's topology.
        start_ms: event time (ms) of the first reading; moves the whole recording.
    """

    columns: dict[str, Source] = field(default_factory=dict)
    key_columns: tuple[str, ...] = ()
    key: str | None = None
    group: str | None = None
    topology: dict[str, float] = field(default_factory=dict)
    start_ms: int | None = None


@dataclass(frozen=True)
class Sources:
    """The columns of one file that hold each field. `key` is empty and `group` is None if it has no such column."""

    key: tuple[str, ...]
    group: str | None
    time: str
    sensors: dict[str, Source]

    @property
    def columns(self) -> list[str]:
        """Every column to read, each once."""
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
    """A mapping from the options of a command line.

    Raises:
        UserError: `columns` or `topology` has a syntax error.
    """
    return Mapping(
        columns=parse_columns(columns) if columns else {},
        key_columns=tuple(part.strip() for part in key_columns.split(",")) if key_columns else (),
        group=group,
        topology=parse_topology(topology) if topology else {},
        start_ms=start_ms,
    )


def parse_columns(text: str) -> dict[str, Source]:
    """Parse `FIELD=COLUMN,…`; a minus before COLUMN reverses the sign.

    Raises:
        UserError: the text has another form, or names a field twice.
    """
    columns: dict[str, Source] = {}
    for name, column in _pairs("--columns", text, "ts=time_s,flow=-litres"):
        columns[name] = Source(column.removeprefix("-"), -1 if column.startswith("-") else 1)
    return columns


def parse_topology(text: str) -> dict[str, float]:
    """Parse `PARAMETER=NUMBER,…`.

    Raises:
        UserError: the text has another form, or a value is not a number above 0.
    """
    example = "length_m=2.5"
    topology: dict[str, float] = {}
    for name, value in _pairs("--topology", text, example):
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
    """Find the column of each field: as mapped, else by the field's name, else by one of its Avro aliases.

    Raises:
        UserError: the mapping names an unknown field or column, there is no column for the key, time or any sensor,
            or the pipeline has no such fields.
    """
    source = pipeline.input
    aliases = {f["name"]: (f["name"], *f.get("aliases", ())) for f in source.avro_schema["fields"]}
    if source.categories() or not {source.key, source.group, source.time} <= aliases.keys():
        raise UserError(
            f"recordings are read for pipelines whose input has fields for key, group and time, and numbers; "
            f"that of {pipeline.name} differs: publish its records with a producer of your own"
        )
    there = ", ".join(file_columns)
    if unknown := [name for name in mapping.columns if name not in aliases]:
        raise UserError(f"--columns: a reading has no field {', '.join(unknown)}; it has {', '.join(aliases)}")
    named = [*mapping.key_columns, *(mapped.column for mapped in mapping.columns.values())]
    if absent := [name for name in named if name not in file_columns]:
        raise UserError(f"the file has no column {', '.join(absent)}; it has {there}")
    for name in (source.key, source.group, source.time):
        if name in mapping.columns and mapping.columns[name].sign < 0:
            raise UserError(f"--columns: {name} is not a sensor, so its sign cannot be reversed; remove the minus")

    def find(name: str) -> Source | None:
        known = (alias for alias in aliases[name] if alias in file_columns)
        return mapping.columns.get(name) or next((Source(column) for column in known), None)

    key, time, group = find(source.key), find(source.time), find(source.group)
    key_columns = mapping.key_columns or ((key.column,) if key else ())
    if not key_columns and mapping.key is None:
        raise UserError(
            f"no column holds {source.key}; name it with --columns {source.key}=COLUMN or --key-columns; "
            f"the file has {there}"
        )
    if time is None:
        raise UserError(
            f"no column holds {source.time}; name it with --columns {source.time}=COLUMN; the file has {there}"
        )
    sensors = {name: found for name in source.sensors() if (found := find(name)) is not None}
    if not sensors:
        raise UserError(
            f"no column holds a sensor ({', '.join(source.sensors())}); name one with --columns; the file has {there}"
        )
    return Sources(key_columns, group.column if group else None, time.column, sensors)
