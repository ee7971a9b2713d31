"""Loads files into one table of the database: a row for each reading, with what is wrong with it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.bad_rows import SHOWN, BadRow, described, rejected_rows, without_footer
from producers.recordings.database import first_row, literal, quoted, reason
from producers.recordings.faults import REASONS, TIME, TOLD, Fault, column_of, fault_sql, rule_of
from producers.recordings.fields import FieldSql, Source, Sources, field_sql, find_sources
from producers.recordings.fixed_width import refuse_fixed_width
from producers.recordings.long_format import refuse_long_format
from producers.recordings.mapping import Mapping
from producers.recordings.query import query_table
from producers.recordings.source_table import SourceTable, is_missing, open_table
from producers.recordings.time_texts import Column, TextForm, given_form, text_form
from worker.config.inputs_outputs import Input
from worker.config.pipeline import Pipeline


@dataclass
class Loaded:
    """What was read.

    Attributes:
        tables: the files, or the result of the user's query. sources: where their fields are; fields: as SQL.
        form: of times that are text; None: they are numbers or timestamps.
        numeric: whether `time` holds numbers that still need a unit.
        relative: whether times count from a start, if they are no numbers.
        source: declares key, group, time and sensors.
        rows: number of rows read, those without a value not counted.
        left_out: number of rows that cannot be used, by reason.
        bad: the first few of them.
        not_numbers: number of values that are no numbers and count as missing, by column.
        not_number_rows: the first few of them.
        told: number of rows that were left out but are no fault, by reason.
        begins: number of the first reading of each file in the table.
    """

    tables: list[SourceTable]
    sources: list[Sources]
    fields: list[FieldSql]
    form: TextForm | None
    numeric: bool
    relative: bool
    source: Input
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[BadRow] = field(default_factory=list)
    not_numbers: Counter[str] = field(default_factory=Counter)
    not_number_rows: list[BadRow] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    begins: list[int] = field(default_factory=list)

    def require_good(self) -> None:
        """Refuse bad rows.

        Raises:
            UserError: there are any; the text names the first few, with line, column, value and rule.
        """
        bad = sorted([*self.bad, *self.not_number_rows], key=lambda row: (row.file, row.place))
        if not bad:
            return
        more = sum(self.left_out.values()) + sum(self.not_numbers.values()) - len(bad[:SHOWN])
        rows = "; ".join(map(str, bad[:SHOWN])) + (f"; and {more} more" if more else "")
        raise UserError(
            f"{shown(self.tables[bad[0].file].path)}: {rows}; correct the file, or skip such rows with --skip-bad "
            "(a value that is no number is then missing)"
        )

    def note(
        self, file: int, fault: Fault, count: int, database: duckdb.DuckDBPyConnection, rule: str | None = None
    ) -> None:
        """Count rows of a file that have this fault, and describe the first few."""
        table, sources, before = self.tables[file], self.sources[file], self.begins[file]
        self.left_out[REASONS[fault]] += count
        words = rule or rule_of(fault, table, self.source, self.form.description if self.form else None)
        rows = database.execute(
            f"SELECT rowid - {before} FROM readings WHERE file = {file} AND fault = {int(fault)} "
            f"ORDER BY rowid LIMIT {SHOWN}"
        ).fetchall()
        examples = [(row, column_of(fault, sources), words) for (row,) in rows]
        rejects = f"rejects_{file}" if table.layout else None
        self.bad = sorted(
            [*self.bad, *described(table, file, examples, rejects, database)], key=lambda bad: (bad.file, bad.place)
        )


def load(
    files: Sequence[Path],
    pipeline: Pipeline,
    mapping: Mapping,
    database: duckdb.DuckDBPyConnection,
    directory: Path,
    *,
    label: str | None = None,
    progress: Callable[[str], None] = lambda _file: None,
) -> Loaded:
    """Read files into the table `readings`: file, key, group, time, label, one column per sensor, wrong, fault.

    Args:
        files: at least one.
        pipeline: declares the fields.
        mapping: what the user says.
        database: may read the files and the directory.
        directory: temporary.
        label: column or expression that is 1 from an event on.
        progress: called with the name of each file.

    Raises:
        UserError: a file, or what the user says, cannot be used.
    """
    tables = [open_table(path, number, directory, database, mapping.sheet) for number, path in enumerate(files)]
    if mapping.query is not None:
        tables = [query_table(mapping.query, tables, database)]
    sources, fields = [], []
    for table in tables:
        try:
            if mapping.query is None:
                refuse_fixed_width(table)
            found = find_sources(table.names, mapping, pipeline, label)
            if mapping.query is None:
                refuse_long_format(table, found, database)
            fields.append(field_sql(table, found, pipeline, database))
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(shown(table.path)) else f"{shown(table.path)}: {text}") from error
        sources.append(found)
    form, numeric, relative = _time_form(tables, sources, fields, mapping, database)
    loaded = Loaded(tables, sources, fields, form, numeric, relative, pipeline.input)
    sensors = [s for s in pipeline.input.sensors() if any(s in found.sensors for found in sources)]
    columns = ", ".join(f"{quoted(sensor)} DOUBLE" for sensor in sensors)
    database.execute(
        f'CREATE TABLE readings (file SMALLINT, key VARCHAR, "group" VARCHAR, time DOUBLE, label TINYINT, {columns}, '
        "wrong BIGINT, fault TINYINT)"
    )
    for number, table in enumerate(tables):
        progress(table.path.name)
        _load_file(loaded, number, sensors, mapping, database)
    return loaded


def _time_form(
    tables: Sequence[SourceTable],
    sources: Sequence[Sources],
    fields: Sequence[FieldSql],
    mapping: Mapping,
    database: duckdb.DuckDBPyConnection,
) -> tuple[TextForm | None, bool, bool]:
    """The form of times that are text, else whether they are numbers, and whether they count from a start."""
    kinds = [_kind(made.time_type) for made in fields]
    columns = [Column('"=time"', made.over(table.rows())) for table, made in zip(tables, fields, strict=True)]
    texts = [at for at, kind in enumerate(kinds) if kind == "text"]
    form = None
    if texts and mapping.time_format is not None:
        form = given_form(mapping.time_format)
    elif texts and (mapping.time_unit or all(_is_numeric(tables[at], columns[at], database) for at in texts)):
        kinds = ["number" if kind == "text" else kind for kind in kinds]
    elif texts:
        form = text_form([columns[at] for at in texts], sources[texts[0]].time.text, database)
    meanings = {{"number": "number", "span": "span"}.get(kind, "moment") for kind in kinds if kind != "text"}
    meanings |= {"span" if form.relative else "moment"} if form is not None else set()
    if len(meanings) > 1:
        each = ", ".join(f"{shown(t.path.name)} {f.time_type}" for t, f in zip(tables, fields, strict=True))
        raise UserError(
            f"times are of different forms: {each}; read the files one by one, or convert them with --query"
        )
    return form, meanings == {"number"}, meanings == {"span"}


def _kind(sql_type: str) -> str:
    if sql_type == "VARCHAR":
        return "text"
    if sql_type.startswith(("TIMESTAMP", "DATE")):
        return "moment"
    return "span" if sql_type.startswith(("TIME", "INTERVAL")) else "number"


def _is_numeric(table: SourceTable, column: Column, database: duckdb.DuckDBPyConnection) -> bool:
    # Numbers such as 20240625080000 are texts of digits, not numbers.
    number = table.number(column.text)
    found = first_row(
        database.execute(
            f"SELECT count({number}) FILTER (NOT regexp_matches(trim({column.text}), '^(19|20)\\d{{12}}$')), "
            f"count(*) FILTER (NOT {is_missing(column.text)}) FROM (SELECT * FROM ({column.rows}) LIMIT 1000)"
        )
    ) or (0, 0)
    return int(found[0]) > 0.5 * int(found[1]) or not found[1]


def _time_sql(made: FieldSql, table: SourceTable, form: TextForm | None) -> str:
    kind = _kind(made.time_type)
    if kind == "text" and form is None:
        kind = "number"
    if kind == "moment":
        plain = "" if "ZONE" in made.time_type else "::TIMESTAMP"
        return f'epoch_ms("=time"{plain}::TIMESTAMPTZ)::DOUBLE'
    if kind == "span":
        return 'epoch("=time") * 1000'
    if form is not None and kind == "text":
        return form.sql('"=time"')
    return table.number('"=time"', made.time_type)


def _load_file(
    loaded: Loaded, number: int, sensors: Sequence[str], mapping: Mapping, database: duckdb.DuckDBPyConnection
) -> None:
    table, sources, made = loaded.tables[number], loaded.sources[number], loaded.fields[number]
    rejects = f"rejects_{number}" if table.layout else None
    stem = table.path.name.split(".")[0] if table.path.name else "recording"
    if mapping.key is not None:
        key = literal(mapping.key)
    else:
        parts = [f"trim({quoted(f'=key {i}')}::VARCHAR)" for i in range(len(sources.key))]
        key = " || '/' || ".join(parts) or literal(stem)
        if len(parts) > 1:  # one empty part makes the key unusable
            key = f"CASE WHEN {' OR '.join(f'{part} = {chr(39) * 2}' for part in parts)} THEN '' ELSE {key} END"
    group = 'trim("=group"::VARCHAR)' if sources.group else literal(mapping.group or stem)
    own = list(sources.sensors)
    bits = " + ".join(
        f'(CASE WHEN "=wrong" & {1 << i} <> 0 THEN {1 << sensors.index(s)} ELSE 0 END)' for i, s in enumerate(own)
    )
    wrong = '"=wrong"' if own == list(sensors) else f"({bits})"
    time = _time_sql(made, table, loaded.form)
    fault = fault_sql(table, sources, made, labelled=sources.label is not None)
    before = _count(database)
    loaded.begins.append(before)
    query = (
        f"INSERT INTO readings SELECT {number}, key, grp, time, label, {', '.join(map(quoted, sensors))}, wrong, "
        f"{fault} FROM (SELECT *, {key} AS key, {group} AS grp, {time} AS time, "
        f'"=label" AS label, {wrong} AS wrong, {_gap(loaded.form, mapping)} AS gap '
        f"FROM (SELECT * {_lacking(own, sensors)} FROM ({made.over(table.rows(rejects))})))"
    )
    try:
        database.execute(query)
    except duckdb.Error as error:
        raise UserError(f"{shown(table.path)} cannot be read: {reason(error)}; check the file") from error
    _note(loaded, number, before, sensors, rejects, database)


def _lacking(own: Sequence[str], sensors: Sequence[str]) -> str:
    lacking = [f"NULL::DOUBLE AS {quoted(s)}" for s in sensors if s not in own]
    return ", " + ", ".join(lacking) if lacking else ""


def _gap(form: TextForm | None, mapping: Mapping) -> str:
    """Whether a local time does not exist, because summer time begins."""
    if mapping.time_zone is None or form is None or form.relative:
        return "false"
    local = f"TRY_CAST({form.local(TIME)} AS TIMESTAMP)"
    has_offset = f"regexp_matches({TIME}, '(Z|[+-]\\d\\d:?(\\d\\d)?)$')"
    return f"coalesce({local}::TIMESTAMPTZ::TIMESTAMP <> {local}, false) AND NOT {has_offset}"


def _count(database: duckdb.DuckDBPyConnection) -> int:
    found = first_row(database.execute("SELECT count(*) FROM readings"))
    return int(found[0]) if found else 0


def _note(
    loaded: Loaded,
    number: int,
    before: int,
    sensors: Sequence[str],
    rejects: str | None,
    database: duckdb.DuckDBPyConnection,
) -> None:
    """Count what is wrong with the rows of a file, and describe the first few."""
    table, sources = loaded.tables[number], loaded.sources[number]
    rejected, below = without_footer(table, rejected_rows(rejects, table, number, database), before, database)
    if below:
        loaded.told[TOLD[Fault.FOOTER]] += below
    loaded.left_out["broken rows"] += len(rejected)
    loaded.rows += len(rejected)
    loaded.bad += rejected[:SHOWN]
    found = database.execute(f"SELECT fault, count(*) FROM readings WHERE rowid >= {before} GROUP BY fault").fetchall()
    for fault, count in found:
        loaded.rows += count if fault not in {Fault.BLANK, Fault.FOOTER} else 0
        if fault in TOLD:
            loaded.told[TOLD[fault]] += count
        elif fault:
            loaded.note(number, Fault(fault), count, database)
    wrong: list[tuple[int, Source | None, str]] = []
    for sensor, source in sources.sensors.items():
        condition = (
            f"rowid >= {before} AND fault IN (0, {int(Fault.NO_VALUE)}) AND wrong & {1 << sensors.index(sensor)} <> 0"
        )
        (count, rows), *_ = database.execute(
            f"SELECT count(*), min(rowid - {before}, {SHOWN}) FROM readings WHERE {condition}"
        ).fetchall()
        if count:
            loaded.not_numbers[source.text] += count
            wrong += [(row, source, "is not a number") for row in rows]
    loaded.not_number_rows += described(table, number, wrong, rejects, database)
    loaded.left_out = +loaded.left_out
