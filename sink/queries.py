"""Queries of what a sink has stored in a database."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from common.errors import UserError
from common.text import text_or_hex
from sink.columns import RECORD, Column, Kind
from sink.engine import waiting_for
from sink.migration import known_columns
from sink.schema import COLUMNS, KEY_INDEXED, LOSSES, UNREADABLE, table_of_records
from sink.sql_values import decimal_text, iso_text

MOST_ROWS = 1000
_PREDICTIONS = "predictions"
_HOUR = len("2026-01-31T12")


def newest_rows(
    engine: Engine, table: str = _PREDICTIONS, key: str | None = None, since: datetime | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """The newest rows of a table, newest first, by the records' Kafka timestamps.

    Args:
        engine: see `sink.engine.reading_engine`.
        table: its name.
        key: of the records; None: all.
        since: the smallest timestamp; None: any.
        limit: the most rows.

    Returns:
        For each row, the value by column, as JSON has it: times in ISO 8601, decimals as text.

    Raises:
        UserError: there is no such table.
        DependencyDownError: the database does not answer.
    """
    with waiting_for(engine), engine.connect() as connection:
        columns = _columns(connection, table)
        rows = table_of_records(table, columns)
        query = sa.select(rows)
        if key is not None:
            key = text_or_hex(key.encode("utf-8", "surrogateescape")) or ""  # as the sink stores it
            indexed = sa.func.substr(rows.c.kafka_key, sa.text("1"), sa.text(f"{KEY_INDEXED}"))
            query = query.where(indexed == key[:KEY_INDEXED], rows.c.kafka_key == key)
        if since is not None:
            query = query.where(rows.c.kafka_timestamp >= _bound(engine, since))
        newest = (rows.c.kafka_timestamp.desc(), rows.c.kafka_partition, rows.c.kafka_offset.desc())
        found = connection.execute(query.order_by(*newest).limit(limit)).mappings().all()
    kinds = {column.name: column.kind for column in columns}
    return [{name: _json_value(value, kinds[name]) for name, value in row.items()} for row in found]


def predictions_by_model(engine: Engine, since: datetime) -> list[dict[str, Any]]:
    """The number of predictions of each version of a model in each hour, newest hour first.

    Raises:
        UserError, DependencyDownError: see `newest_rows`.
    """
    with waiting_for(engine), engine.connect() as connection:
        columns = _columns(connection, _PREDICTIONS)
        rows = table_of_records(_PREDICTIONS, columns)
        missing = {"model_name", "model_version"} - set(rows.c.keys())
        if missing:
            raise UserError(f"the predictions have no {' and no '.join(sorted(missing))}")
        at = rows.c.kafka_timestamp
        hour = (
            sa.func.to_char(sa.func.timezone("UTC", at), sa.text("'YYYY-MM-DD\"T\"HH24'"))
            if engine.dialect.name == "postgresql"
            else sa.func.substr(at, sa.text("1"), sa.text(f"{_HOUR}"))
        ).label("hour")
        query = (
            sa.select(hour, rows.c.model_name, rows.c.model_version, sa.func.count().label("predictions"))
            .where(at >= _bound(engine, since))
            .group_by(hour, rows.c.model_name, rows.c.model_version)
            .order_by(hour.desc(), rows.c.model_name, rows.c.model_version)
        )
        return [{**row, "hour": f"{row['hour']}:00:00Z"} for row in connection.execute(query).mappings()]


def database_stats(engine: Engine) -> dict[str, Any]:
    """How much is stored: rows, first and last time and size of each table, unreadable records, losses.

    Raises:
        DependencyDownError: the database does not answer.
    """
    with waiting_for(engine), engine.connect() as connection:
        _check(connection)
        tables = {name: _of_table(connection, name) for name in _tables(connection)}
        unreadable = table_of_records(UNREADABLE, [*RECORD, *known_columns(connection, UNREADABLE).values()])
        reasons = sa.select(unreadable.c.table_name, unreadable.c.reason, sa.func.count().label("records"))
        reasons = reasons.group_by(unreadable.c.table_name, unreadable.c.reason)
        return {
            "database": engine.dialect.name,
            "bytes": _database_bytes(connection),
            "tables": {name: of for name, of in tables.items() if name != UNREADABLE},
            "unreadable": [dict(row) for row in connection.execute(reasons).mappings()],
            "losses": [
                {name: _json_value(value, "timestamp") for name, value in row.items()}
                for row in connection.execute(sa.select(LOSSES)).mappings()
            ],
        }


def _of_table(connection: Connection, name: str) -> dict[str, Any]:
    rows = table_of_records(name, RECORD)
    at = rows.c.kafka_timestamp
    count, first, last = connection.execute(sa.select(sa.func.count(), sa.func.min(at), sa.func.max(at))).one()
    size = None
    if connection.dialect.name == "postgresql":
        size = connection.execute(sa.select(sa.func.pg_total_relation_size(f'"{name}"'))).scalar()
    return {
        "rows": count,
        "first_at": _json_value(first, "timestamp"),
        "last_at": _json_value(last, "timestamp"),
        "bytes": size,
    }


def _database_bytes(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(connection.execute(sa.select(sa.func.pg_database_size(sa.func.current_database()))).scalar_one())
    file = Path(str(connection.exec_driver_sql("PRAGMA database_list").all()[0][2]))
    return sum(path.stat().st_size for path in (file, file.with_name(f"{file.name}-wal")) if path.exists())


def _columns(connection: Connection, table: str) -> list[Column]:
    _check(connection)
    if table not in (names := _tables(connection)):
        raise UserError(f"there is no table {table!r}; there are: {', '.join(names) or 'none'}")
    return [*RECORD, *known_columns(connection, table).values()]


def _tables(connection: Connection) -> list[str]:
    names = connection.execute(sa.select(COLUMNS.c.table_name).distinct().order_by(COLUMNS.c.table_name))
    return [*names.scalars()]


def _check(connection: Connection) -> None:
    if not sa.inspect(connection).has_table(COLUMNS.name):
        raise UserError("nothing is stored in this database yet; `hazardstream sink` does that")


def _bound(engine: Engine, time: datetime) -> Any:
    try:
        utc = time.astimezone(UTC)
    except OverflowError:  # within a day of the calendar's ends
        utc = time.replace(tzinfo=UTC)
    return iso_text(utc) if engine.dialect.name == "sqlite" else utc


def _json_value(value: Any, kind: Kind) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None  # as in all JSON of this project
    if isinstance(value, datetime):
        return iso_text(value.astimezone(UTC) if value.tzinfo else value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, date | bytes):
        return text_or_hex(value) if isinstance(value, bytes) else str(value)
    if kind == "boolean":
        return bool(value)
    return json.loads(value) if kind == "json" and isinstance(value, str) else value
