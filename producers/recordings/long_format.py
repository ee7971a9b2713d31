"""Recognises files with one value per row, whose sensor stands in another column: they need a query."""

from itertools import pairwise

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.database import literal, quoted
from producers.recordings.fields import Sources
from producers.recordings.source_table import SourceTable

_VALUES = {"value", "val", "state", "reading", "_value", "num_value", "value_num"}
_NAMES = {
    "entity_id", "entity", "metric", "metric_name", "variable", "name", "tag", "tag_name", "tagname", "parameter",
    "signal", "channel", "sensor", "sensor_id", "sensor_name", "attribute", "field", "_field",
    "measurement", "point", "quantity",
}  # fmt: skip
_ROWS, _MOST_NAMES = 20_000, 100


def refuse_long_format(table: SourceTable, sources: Sources, database: duckdb.DuckDBPyConnection) -> None:
    """Refuse a file whose one column of values holds several quantities.

    Raises:
        UserError: it does; the text has a query that makes a column of each.
    """
    plain = {s.column for s in sources.sensors.values() if s.column is not None}
    if len(sources.sensors) != 1 or not plain:
        return
    (value,) = plain
    own = {sources.time.column, value}
    others = [name for name in table.names if name not in own and table.is_text(name)]
    named = [name for name in others if name.casefold() in _NAMES]
    telling = value.casefold() in _VALUES
    for name in named if named and telling else others if telling or len(table.names) <= 4 else named:
        quantities = _quantities(table, name, value, database, certain=telling and name in named)
        if quantities:
            raise UserError(_text(table, sources, name, value, quantities))


def _quantities(
    table: SourceTable, name: str, value: str, database: duckdb.DuckDBPyConnection, *, certain: bool
) -> list[str]:
    """The names in a column, if they are few and their values are far apart."""
    column, number = quoted(table.ids[name]), table.number(quoted(table.ids[value]), table.types[value])
    found = database.execute(
        f"SELECT {column}, quantile_cont({number}, 0.05), quantile_cont({number}, 0.95), count(*), "
        f"count({table.number(column)}) FROM (SELECT * FROM ({table.rows()}) LIMIT {_ROWS}) "
        f"GROUP BY 1 ORDER BY 1 LIMIT {_MOST_NAMES + 1}"
    ).fetchall()
    if not 2 <= len(found) <= _MOST_NAMES or any(numbers for *_, numbers in found) or min(n for *_, n, _ in found) < 2:
        return []
    ranges = sorted((low, high) for _, low, high, *_ in found if low is not None)
    apart = any(b[0] > a[1] + 0.3 * max(abs(a[1]), abs(b[0])) for a, b in pairwise(ranges))
    return [str(row[0]) for row in found] if certain or apart else []


def _text(table: SourceTable, sources: Sources, name: str, value: str, quantities: list[str]) -> str:
    sensor, time = next(iter(sources.sensors)), quoted(sources.time.column or "time")
    value_id, name_id = quoted(table.ids[value]), quoted(table.ids[name])
    columns = ", ".join(
        f"any_value({value_id}) FILTER ({name_id} = {literal(quantity)}) AS {quoted(quantity)}"
        for quantity in quantities[:4]
    )
    return (
        f"{shown(table.path)} has one value per row: {shown(value)} holds what {shown(name)} names "
        f"({', '.join(map(shown, quantities[:4]))}). Make a column of each with --query FILE.sql, for example: "
        f"SELECT time_bucket(INTERVAL '10 seconds', {time}::TIMESTAMPTZ) AS ts, {columns} FROM file GROUP BY 1 ORDER "
        f'BY 1. If all are the same quantity, write --columns {sensor}="{shown(value)}"+0'
    )
