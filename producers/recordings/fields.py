"""Which column or expression of a file holds which field of a reading, as SQL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.database import first_row, literal, query_error, quoted
from producers.recordings.mapping import Mapping
from producers.recordings.source_table import SourceTable, is_missing
from producers.recordings.units import Conversion, conversion
from worker.config.inputs_outputs import Input
from worker.config.pipeline import Pipeline

_NAME = re.compile(r"-?\s*\w[\w ]*")
_HEAD_ROWS = 20_000
_ALIKE = 0.8


@dataclass(frozen=True)
class Source:
    """Where a field's values are.

    Attributes:
        text: the column's name, or the expression.
        column: the name of a plain column; None for an expression.
        sign: -1 if a plain column is to be reversed.
    """

    text: str
    column: str | None = None
    sign: int = 1


@dataclass(frozen=True)
class Sources:
    """Where one file holds each field. `key` is empty and `group` None if nothing in the file says it."""

    key: tuple[Source, ...]
    group: Source | None
    time: Source
    sensors: dict[str, Source]
    label: Source | None = None

    @property
    def used(self) -> set[str]:
        """Text of every source."""
        named = [*self.key, self.time, *self.sensors.values(), *(s for s in (self.group, self.label) if s)]
        return {source.text for source in named}


def find_sources(names: Sequence[str], mapping: Mapping, pipeline: Pipeline, label: str | None = None) -> Sources:
    """Find the source of each field: as mapped, else by the field's name, else by one of its Avro aliases.

    Raises:
        UserError: the mapping names an unknown field or column, nothing holds the time or any sensor, or the pipeline
            has no such fields.
    """
    source = pipeline.input
    aliases = {f["name"]: (f["name"], *f.get("aliases", ())) for f in source.avro_schema["fields"]}
    lacking = [what for what, name in _roles(source).items() if name not in aliases]
    if lacking or source.categories():
        texts = ", ".join(source.categories())
        why = [*(f"no field for the {what}" for what in lacking), *([f"fields of text ({texts})"] if texts else [])]
        raise UserError(
            f"recordings are read for inputs with key, group, time and numbers, and that of {pipeline.name} has "
            f"{', '.join(why)}; publish its records with a producer of your own, as docs/clients.md shows"
        )
    there = ", ".join(map(shown, names))
    if unknown := [name for name in mapping.columns if name not in aliases]:
        raise UserError(f"--columns: a reading has no field {', '.join(unknown)}; it has {', '.join(aliases)}")
    if absent := [name for name in mapping.key_columns if name not in names]:
        raise UserError(f"the file has no column {', '.join(map(shown, absent))}; it has {there}")

    def find(name: str) -> Source | None:
        given = mapping.columns.get(name)
        return _by_name(name, aliases[name], names) if given is None else source_of(given, names)

    identity = [find(name) for name in (source.key, source.group, source.time)]
    for name, found in zip((source.key, source.group, source.time), identity, strict=True):
        if found is not None and found.sign < 0:
            raise UserError(f"--columns: {name} is not a sensor, so its sign cannot be reversed; remove the minus")
    key, group, time = identity
    if time is None:
        raise UserError(
            f"no column holds {source.time}; name it with --columns {source.time}=COLUMN, or make it of several: "
            f"--columns \"{source.time}=Date || ' ' || Time\"; the file has {there}"
        )
    sensors = {name: found for name in source.sensors() if (found := find(name)) is not None}
    if not sensors:
        raise UserError(
            f"no column holds a sensor ({', '.join(source.sensors())}); name one with --columns; the file has {there}"
        )
    keys = tuple(Source(name, name) for name in mapping.key_columns) or ((key,) if key and mapping.key is None else ())
    return Sources(keys, group, time, sensors, None if label is None else _label(label, names))


def _roles(source: Input) -> dict[str, str]:
    return {"key": source.key, "group": source.group, "time": source.time}


def _by_name(field: str, known: Sequence[str], names: Sequence[str]) -> Source | None:
    for name in known:
        if name in names:
            return Source(name, name)
        if several := numbered(name, names):
            raise UserError(f"several columns have the name {name}; say which with --columns '{field}={several[0]}'")
    return None


def _label(text: str, names: Sequence[str]) -> Source:
    if text not in names and _NAME.fullmatch(text):
        raise UserError(f"--label-column: the file has no column {shown(text)}; it has {', '.join(map(shown, names))}")
    return source_of(text, names)


def numbered(name: str, names: Sequence[str]) -> list[str]:
    """The columns that had this same name in the file: `x (1)`, `x (2)`."""
    return [other for other in names if re.fullmatch(re.escape(name) + r" \(\d+\)", other)]


def source_of(text: str, names: Sequence[str]) -> Source:
    """A column as it is named, the same with a minus, or an expression.

    Raises:
        UserError: the text can only be a name, and no column has it.
    """
    plain = text.strip()
    sign = -1 if plain.startswith("-") and plain not in names else 1
    name = plain if sign > 0 else plain[1:].strip()
    if name not in names and len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace('""', '"')
    if name in names:
        return Source(name, name, sign)
    if _NAME.fullmatch(plain) and not re.fullmatch(r"-?[\d.]+|null|true|false", plain, re.IGNORECASE):
        several = numbered(name, names)
        more = f"; several have it: {', '.join(several)}" if several else ""
        raise UserError(f"the file has no column {shown(name)}; it has {', '.join(map(shown, names))}{more}")
    return Source(plain)


@dataclass(frozen=True)
class FieldSql:
    """SQL of a file's fields.

    Attributes:
        rows: query with columns `=key`, `=group`, `=time`, `=label`, one per sensor, `=wrong` (bits of sensors with
            text that is no number), `=short` and `=long`. `{rows}` in it stands for the query of the file's rows.
        time_type: SQL type of `=time`.
        conversions: by sensor, where the column states a unit.
    """

    rows: str
    time_type: str
    conversions: dict[str, Conversion | None]

    def over(self, rows: str) -> str:
        """The query over these rows of the file."""
        return self.rows.replace("{rows}", rows)


def field_sql(
    table: SourceTable, sources: Sources, pipeline: Pipeline, database: duckdb.DuckDBPyConnection
) -> FieldSql:
    """SQL that gives each field of a file.

    Expressions for key, group and time see text as it is in the file; those for sensors see numbers where a column
    holds them.

    Args:
        table: the file.
        sources: where its fields are.
        pipeline: declares units and which columns are sensors.
        database: the database.

    Raises:
        UserError: an expression cannot be evaluated, or would take a list for text.
    """
    _refuse_places_in_lists(table, sources)
    raw, typed = "SELECT * FROM ({rows})", _typed(table, sources, database)
    first, second = [], []
    for name, source in _texts(sources).items():
        if source.column is None and not _binds(source.text, raw, table, database):
            second.append(f"({source.text}) AS {quoted(name)}")
        else:
            value = f"({source.text})" if source.column is None else quoted(table.ids[source.column])
            first.append(f"{value} AS {quoted(name)}")
            second.append(quoted(name))
    conversions: dict[str, Conversion | None] = {}
    bits = []
    for at, (sensor, source) in enumerate(sources.sensors.items()):
        raw_name = f"=text {at}"
        if source.column is None:
            value = f"TRY_CAST(({source.text}) AS DOUBLE)"
            conversions[sensor] = None
        else:
            column, unit = quoted(table.ids[source.column]), pipeline.input.rules(sensor).unit
            first.append(f"{column} AS {quoted(raw_name)}")
            number = table.number(quoted(raw_name), table.types[source.column])
            conversions[sensor] = found = conversion(source.column, table.units.get(source.column, ""), unit, sensor)
            value = number if found is None else found.sql(number)
            if table.is_text(source.column):
                wrong = f"CASE WHEN ({number}) IS NULL AND NOT {is_missing(quoted(raw_name))} THEN {1 << at} ELSE 0 END"
                bits.append(wrong)
            value = value if source.sign > 0 else f"-({value})"
        second.append(f"({value})::DOUBLE AS {quoted(sensor)}")
    label = "0" if sources.label is None else _label_sql(table, sources.label, first)
    second.append(f'{label} AS "=label"')
    second.append(f'({" + ".join(bits) or "0"})::BIGINT AS "=wrong"')
    level = f"SELECT *, {', '.join(first)} FROM ({raw})" if first else raw
    query = f'SELECT {", ".join(second)}, "=short", "=long" FROM ({typed.replace("{level}", level)})'
    kind = _described(query, table, sources, database)
    return FieldSql(query, kind, conversions)


def _refuse_places_in_lists(table: SourceTable, sources: Sources) -> None:
    for source in (*_texts(sources).values(), *sources.sensors.values()):
        for name in table.lists if source.column is None else ():
            if re.search(rf'(?<![\w"])"?{re.escape(table.ids[name])}"?\s*\[', source.text, re.IGNORECASE):
                raise UserError(
                    f"{shown(source.text)}: the column {shown(name)} holds lists; write {shown(name)}->>0 for the "
                    "first value"
                )


def _texts(sources: Sources) -> dict[str, Source]:
    keys = {f"=key {i}": source for i, source in enumerate(sources.key)}
    return keys | ({"=group": sources.group} if sources.group else {}) | {"=time": sources.time}


def _binds(text: str, raw: str, table: SourceTable, database: duckdb.DuckDBPyConnection) -> bool:
    try:
        database.execute(f"DESCRIBE SELECT ({text}) FROM ({raw.replace('{rows}', table.rows())})")
    except duckdb.Error:
        return False
    return True


def _typed(table: SourceTable, sources: Sources, database: duckdb.DuckDBPyConnection) -> str:
    """The rows with a number in place of text in every column that an expression names and that holds numbers."""
    expressions = " ".join(s.text for s in [sources.time, *sources.sensors.values(), *sources.key] if s.column is None)
    named = [n for n in table.names if table.is_text(n) and table.ids[n].casefold() in expressions.casefold()]
    numbers = numeric_columns(table, named, database)
    replaced = ", ".join(f"{table.number(quoted(table.ids[n]))} AS {quoted(table.ids[n])}" for n in numbers)
    return f"SELECT * REPLACE ({replaced}) FROM ({{level}})" if replaced else "SELECT * FROM ({level})"


def numeric_columns(table: SourceTable, names: Sequence[str], database: duckdb.DuckDBPyConnection) -> list[str]:
    """Those text columns of which more than half of the first values are numbers."""
    if not names:
        return []
    counts = ", ".join(
        f"count({table.number(c)}), count(*) FILTER (NOT {is_missing(c)})"
        for c in (quoted(table.ids[name]) for name in names)
    )
    found = first_row(database.execute(f"SELECT {counts} FROM (SELECT * FROM ({table.rows()}) LIMIT {_HEAD_ROWS})"))
    pairs = zip((found or ())[::2], (found or ())[1::2], strict=True)
    return [name for name, (numbers, filled) in zip(names, pairs, strict=True) if numbers > 0.5 * filled]


def _label_sql(table: SourceTable, source: Source, first: list[str]) -> str:
    """1 where the label says so, 0 where it does not, 2 where it cannot be understood."""
    if source.column is None:
        return f"CASE WHEN ({source.text}) THEN 1 ELSE 0 END"
    first.append(f'{quoted(table.ids[source.column])} AS "=label text"')
    if not table.is_text(source.column):
        return 'CASE WHEN TRY_CAST("=label text" AS DOUBLE) > 0.5 THEN 1 ELSE 0 END'
    word, number = 'lower(trim("=label text"))', table.number('"=label text"')
    yes, no = (", ".join(map(literal, words)) for words in (("true", "yes"), ("false", "no")))
    return (
        f"CASE WHEN ({number}) > 0.5 OR {word} IN ({yes}) THEN 1 "
        f"WHEN ({number}) IS NOT NULL OR {word} IN ({no}) OR {is_missing(word)} THEN 0 ELSE 2 END"
    )


def _described(query: str, table: SourceTable, sources: Sources, database: duckdb.DuckDBPyConnection) -> str:
    try:
        found = database.execute(f"DESCRIBE {query.replace('{rows}', table.rows())}").fetchall()
    except duckdb.Error as error:
        expressions = [s.text for s in (*_texts(sources).values(), *sources.sensors.values()) if s.column is None]
        meant = [name for text in expressions for name in get_close_matches(text, table.names, 1, _ALIKE)]
        hint = f"; is {' or '.join(map(shown, meant))} meant?" if meant else ""
        raise UserError(f"{query_error('--columns', error, table.ids.values())}{hint}") from error
    return next(str(row[1]) for row in found if row[0] == "=time")
