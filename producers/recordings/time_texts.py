"""Times that are written as text: one format for the whole column, or a refusal that asks for it."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.database import first_row, literal

_DATES = (
    "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y",
    "%m-%d-%y", "%y-%m-%d", "%y/%m/%d", "%Y.%m.%d", "%Y/%m/%d", "%Y-%m-%d", "%Y%m%d", "%d %b %Y", "%d-%b-%Y",
    "%d-%b-%y", "%d/%b/%Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%B %d %Y", "%Y-%b-%d", "%a %b %d %Y",
    "%a, %d %b %Y", "%Y%m%d%H%M%S", "%Y%m%d%H%M",
)  # fmt: skip
"""Dates as instruments and spreadsheets write them; with dots the day always comes first."""
_CLOCKS = (
    "%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%I:%M:%S.%f %p", "%I:%M %p", "%I:%M:%S%p", "%I:%M%p",
    "%H:%M:%S,%f", "%H:%M:%S:%f", "%H.%M.%S", "%H%M%S",
)  # fmt: skip
_ZONES = ("", "%z", " %z", "Z", " UTC", " GMT")
_SPLIT = re.compile(r"(.*?\d)(?:([\sT,_-]+)(\d{1,2}[:.]\d{2}.*|\d{6}\D*))?")
_ELAPSED = r"^\s*(\d+\s*d(ays?)?,?\s+)?\d+:\d{1,2}(:\d{1,2}([.,]\d+)?|[.,]\d+)?\s*$"
_SANE = "BETWEEN 1971 AND 2200"


class TextForm(NamedTuple):
    """How a column of texts is read.

    Attributes:
        description: for people.
        relative: whether times count from a start.
        formats: of `try_strptime`; empty: ISO 8601, or h:mm:ss if relative.
    """

    description: str
    relative: bool
    formats: tuple[str, ...] = ()

    def sql(self, text: str) -> str:
        """Milliseconds since 1970, or from the start, as DOUBLE; null where the text is no time."""
        if self.formats:
            moment = self.moment(text)
            return f"epoch_ms({moment})::DOUBLE" + (" + 2208988800000" if self.relative else "")
        return _elapsed(text) if self.relative else f"epoch_ms({self.moment(text)})::DOUBLE"

    def moment(self, text: str) -> str:
        """The time as TIMESTAMPTZ."""
        return f"TRY_CAST({self.local(text)} AS TIMESTAMPTZ)"

    def local(self, text: str) -> str:
        """The time as the text says it: a TIMESTAMP, unless it has an offset."""
        if not self.formats:
            return f"trim({text})"
        formats = f"[{', '.join(map(literal, self.formats))}]"
        # Some write the end of a day as 24:00.
        late = f"try_strptime(replace(trim({text}), ' 24:', ' 00:'), {formats}) + INTERVAL 1 DAY"
        return f"CASE WHEN contains({text}, ' 24:') THEN {late} ELSE try_strptime(trim({text}), {formats}) END"


def _elapsed(text: str) -> str:
    days = f"coalesce(TRY_CAST(regexp_extract({text}, '(\\d+)\\s*d', 1) AS DOUBLE), 0)"
    clock = f"string_split(replace(regexp_extract({text}, '\\d+:[\\d:.,]+'), ',', '.'), ':')"
    # With a fraction of the second part: minutes and seconds.
    part = [f"TRY_CAST({clock}[{i}] AS DOUBLE)" for i in (1, 2, 3)]
    short = f"len({clock}) = 2 AND contains({clock}[2], '.')"
    value = f"CASE WHEN {short} THEN {part[0]} * 60 + {part[1]} ELSE {part[0]} * 3600 + {part[1]} * 60 + "
    value += f"CASE WHEN len({clock}) = 3 THEN {part[2]} ELSE 0 END END"
    return (
        f"CASE WHEN regexp_matches({text}, {literal(_ELAPSED)}) THEN {days} * 86400000 + round(({value}) * 1000, 3) END"
    )


def given_form(time_format: str) -> TextForm:
    """The form that the user gives as a format of strptime."""
    relative = not re.search(r"%-?[dmyYbBjxc]", time_format)
    return TextForm(f"{time_format}{' from the start' if relative else ''}", relative, (time_format,))


class Column(NamedTuple):
    """Where the times of one file are: an SQL expression of text, and the query of its rows."""

    text: str
    rows: str


def text_form(columns: Sequence[Column], name: str, database: duckdb.DuckDBPyConnection) -> TextForm:
    """The one form that all files' times have. Which format it is may show only far down, so all rows count.

    Raises:
        UserError: no format is known, or several fit and give different times.
    """
    head = [text for column in columns[:50] for text in _head(column, database)]
    if _share(database, head, f"regexp_matches(x, {literal(_ELAPSED)})") > 0.5:
        parts = {text.count(":"): text for text in head if re.match(_ELAPSED, text)}
        plain = not any("." in text or "," in text for text in head)
        if len(parts) == 2 and plain:
            column = shown(name)
            raise UserError(
                f"column {column} has times such as {shown(parts[1])} and {shown(parts[2])}; if the short ones are "
                f"minutes and seconds, write ts=if({column} LIKE '%:%:%', {column}, '0:' || {column})"
            )
        if parts.keys() == {1} and plain:
            raise UserError(
                f"column {shown(name)} has times such as {shown(head[0])}: hours and minutes, or minutes and seconds? "
                "Say it with --time-format '%H:%M' or --time-format '%M:%S'"
            )
        return TextForm("h:mm:ss from the start", relative=True)
    if _share(database, head, f"year(TRY_CAST(x AS TIMESTAMPTZ)) {_SANE}") > 0.5:
        return TextForm("ISO 8601", relative=False)
    forms = _families(head, database)
    if not forms:
        raise UserError(
            f"column {shown(name)}: {shown(head[0]) if head else 'it is empty and'} is not a time; say how times are "
            "written with --time-format, such as --time-format '%d.%m.%Y %H:%M:%S', or name another column"
        )
    return forms[0] if len(forms) == 1 else _decided(forms, columns, name, database)


def _head(column: Column, database: duckdb.DuckDBPyConnection) -> list[str]:
    query = f"SELECT trim({column.text}) AS x FROM ({column.rows}) LIMIT 1000"
    texts = [row[0] for row in database.execute(query).fetchall() if row[0]]
    return [text for text in texts if any(map(str.isdigit, text))] or texts


def _share(database: duckdb.DuckDBPyConnection, texts: Sequence[str], condition: str) -> float:
    if not texts:
        return 0.0
    query = f"SELECT coalesce(avg(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) FROM (SELECT unnest(?) AS x)"
    found = first_row(database.execute(query, [list(texts)]))
    return float(found[0]) if found else 0.0


def _families(head: Iterable[str], database: duckdb.DuckDBPyConnection) -> list[TextForm]:
    """A form for each way to write dates that fits the beginning of the column."""
    split = [found.groups(default="") for text in head if (found := _SPLIT.fullmatch(text))]
    dates, clocks = [date for date, _, _ in split], sorted({(sep, clock) for _, sep, clock in split})
    written = {clock for _, clock in clocks if clock}
    known = [
        clock + zone
        for clock in _CLOCKS
        for zone in _ZONES
        if _share(
            database,
            sorted(written),
            f"try_strptime('2000-01-01 ' || x, {literal(f'%Y-%m-%d {clock}{zone}')}) NOT NULL",
        )
    ]
    between = sorted({sep for sep, clock in clocks if clock})
    # A time of midnight may be left out, and a fraction of zero.
    ends = [sep + clock for sep in between for clock in known] + ["" for _, clock in clocks if not clock][:1]
    return [
        TextForm(date + (ends[0] if ends else ""), relative=False, formats=tuple(date + end for end in ends))
        for date in _DATES
        if ends and _share(database, dates, f"year(try_strptime(x, {literal(date)})) {_SANE}") > 0.5
    ]


def _decided(
    forms: Sequence[TextForm], columns: Sequence[Column], name: str, database: duckdb.DuckDBPyConnection
) -> TextForm:
    """The form that reads the most rows of all files; a refusal if another one reads as many, and differently."""
    counts, differ = [0] * len(forms), [False] * len(forms)
    for column in columns:
        times = [form.sql(column.text) for form in forms]
        asked = ", ".join(
            f"count(*) FILTER (year(make_timestamp_ms(({t})::BIGINT)) {_SANE}), "
            f"coalesce(bool_or(({t}) IS DISTINCT FROM ({times[0]})), false)"
            for t in times
        )
        found = first_row(database.execute(f"SELECT {asked} FROM ({column.rows})")) or ()
        counts = [n + int(more) for n, more in zip(counts, found[::2], strict=True)]
        differ = [d or bool(more) for d, more in zip(differ, found[1::2], strict=True)]
    best = max(range(len(forms)), key=lambda i: counts[i])
    rivals = [i for i in range(len(forms)) if i != best and counts[i] == counts[best] and (differ[i] or differ[best])]
    if not rivals:
        return forms[best]
    example = _head(columns[0], database)[0]
    choices = " or ".join(f"--time-format '{forms[i].formats[0]}'" for i in (best, *rivals))
    raise UserError(
        f"column {shown(name)}: {shown(example)} and all other times can be read in {1 + len(rivals)} ways; say how "
        f"with {choices}"
    )
