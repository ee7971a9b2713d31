"""What can be wrong with a row: how SQL finds it, under which reason it counts, and what a message says."""

from enum import IntEnum

from producers.recordings.database import literal, quoted
from producers.recordings.fields import FieldSql, Source, Sources
from producers.recordings.source_table import SourceTable, is_missing
from worker.config.inputs_outputs import Input

TIME = '"=time"'


class Fault(IntEnum):
    """Why a row cannot be used; 0 in the table if it can."""

    FEW_FIELDS = 1
    MANY_FIELDS = 2
    BLANK = 3
    HEADER = 4
    NO_TIME = 5
    NOT_A_TIME = 6
    NO_SUCH_HOUR = 7
    NO_KEY = 8
    NO_GROUP = 9
    NO_VALUE = 10
    EARLY = 11
    BAD_NAME = 12
    WORDS = 13
    FOOTER = 14


REASONS = {
    Fault.FEW_FIELDS: "broken rows",
    Fault.MANY_FIELDS: "broken rows",
    Fault.NO_TIME: "no time",
    Fault.NOT_A_TIME: "no time",
    Fault.WORDS: "no time",
    Fault.NO_SUCH_HOUR: "no time",
    Fault.NO_KEY: "no key",
    Fault.NO_GROUP: "no group",
    Fault.NO_VALUE: "no sensor has a value",
    Fault.EARLY: "no time",
    Fault.BAD_NAME: "no key",
}
"""What left-out rows count under."""
TOLD = {Fault.BLANK: "rows without a value", Fault.HEADER: "the header again", Fault.FOOTER: "lines below the last row"}
"""Rows that are left out and are no fault of the file."""


def rule_of(fault: Fault, table: SourceTable, source: Input, form: str | None) -> str:
    """What a message says about a row.

    Args:
        fault: what is wrong.
        table: the file.
        source: names key, group and time.
        form: of the times, in words; None if it is not text.
    """
    fields = f"than the header ({len(table.names)})"
    return {
        Fault.FEW_FIELDS: f"the row has fewer fields {fields}",
        Fault.MANY_FIELDS: f"the row has more fields {fields}",
        Fault.NO_TIME: f"no {source.time}",
        Fault.NOT_A_TIME: "is not a time" + (f" of the form {form}" if form else ""),
        Fault.WORDS: "is not a time" + (f" of the form {form}" if form else ""),
        Fault.NO_SUCH_HOUR: "does not exist in this time zone, because summer time begins",
        Fault.NO_KEY: f"no {source.key}",
        Fault.NO_GROUP: f"no {source.group}",
        Fault.NO_VALUE: "no sensor has a value",
        Fault.EARLY: "is outside the range of event times (2000 to 2109), which workers reject; give a later --start",
    }.get(fault, "")


def column_of(fault: Fault, sources: Sources) -> Source | None:
    """The source that is at fault; None: the whole row."""
    if fault in {Fault.NO_TIME, Fault.NOT_A_TIME, Fault.WORDS, Fault.NO_SUCH_HOUR, Fault.EARLY}:
        return sources.time
    if fault in {Fault.NO_KEY, Fault.BAD_NAME} and sources.key:
        return sources.key[0]
    return sources.group if fault == Fault.NO_GROUP else None


def fault_sql(table: SourceTable, sources: Sources, made: FieldSql, *, labelled: bool) -> str:
    """SQL of the first fault of a row.

    Args:
        table: the file.
        sources: where its fields are.
        made: its fields as SQL.
        labelled: whether there is a label: then a row without a value may carry one.
    """
    text = made.time_type == "VARCHAR"
    no_time = f"time IS NULL AND ({TIME} IS NULL" + (f" OR {is_missing(TIME)})" if text else ")")
    no_key = "coalesce(key, '') = ''"
    empty = " AND ".join(f"{quoted(sensor)} IS NULL" for sensor in sources.sensors)
    blank = f"{no_time} AND wrong = 0 AND {empty}" + (f" AND {no_key}" if sources.key else "")
    cases = [('"=long"', Fault.MANY_FIELDS), ('"=short"', Fault.FEW_FIELDS)]
    if text and sources.time.column is not None and table.layout is not None:
        cases.append((f"trim({TIME}) = {literal(sources.time.column)}", Fault.HEADER))
    if text:
        words = f"time IS NULL AND NOT ({no_time}) AND NOT regexp_matches({TIME}, '[0-9]')"
        cases.append((words, Fault.WORDS))
    cases += [
        (blank, Fault.BLANK),
        (no_time, Fault.NO_TIME),
        ("time IS NULL OR NOT isfinite(time)", Fault.NOT_A_TIME),
        ("gap", Fault.NO_SUCH_HOUR),
        (no_key, Fault.NO_KEY),
        ("coalesce(grp, '') = ''", Fault.NO_GROUP),
    ]
    if not labelled:
        cases.append((f"wrong = 0 AND {empty}", Fault.NO_VALUE))
    return "CASE " + " ".join(f"WHEN {condition} THEN {int(fault)}" for condition, fault in cases) + " ELSE 0 END"
