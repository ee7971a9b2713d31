"""Inserts many rows at once: by COPY with PostgreSQL, by one prepared statement with SQLite."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Cursor, sql
from sqlalchemy.engine import Connection

from sink.columns import Column
from sink.rows import Row
from sink.sql_values import CONVERSIONS


def insert(connection: Connection, table: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Insert rows in the connection's transaction.

    Args:
        connection: to the database.
        table: its name.
        columns: that are written.
        rows: values by name of the column.
    """
    if not rows:
        return
    cursor = connection.connection.cursor()
    try:
        values = _values(connection.dialect.name, columns, rows)
        if connection.dialect.name == "postgresql":
            _copy(cursor, table, columns, values)
        else:
            names = ", ".join(f'"{column.name}"' for column in columns)
            marks = ", ".join("?" * len(columns))
            cursor.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', [*values])  # noqa: S608 - names are plain
    finally:
        cursor.close()


def _copy(cursor: Any, table: str, columns: Sequence[Column], values: Iterator[tuple[Any, ...]]) -> None:
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    target: Cursor[Any] = cursor
    with target.copy(statement) as copy:
        for row in values:
            copy.write_row(row)


def _values(dialect: str, columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """The rows as tuples, converted column by column."""
    conversions = CONVERSIONS[dialect]
    each = []
    for column in columns:
        values = [row.get(column.name) for row in rows]
        convert = conversions.get(column.kind)
        each.append(values if convert is None else [None if v is None else convert(v) for v in values])
    return zip(*each, strict=True)
