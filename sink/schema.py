"""The tables of a database: the sink's own, and those of records, whose columns follow from their fields."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from sink.columns import PRIMARY_KEY, Column, Kind
from sink.rows import UNREADABLE_FIELDS

METADATA = sa.MetaData()
"""The sink's own tables."""
VERSION_TABLE = "sink_version"
"""Where Alembic keeps the version of the sink's own tables."""
UNREADABLE = "unreadable"
"""Table of records that have no row in their own."""
KEY_INDEXED = 128
"""Characters of a key that are indexed: an index entry has a limited size."""

# SQLite has no type for these. Text in ISO 8601 sorts as the times do.
TIMESTAMP: TypeEngine[Any] = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
TYPES: Mapping[Kind, TypeEngine[Any]] = {
    "boolean": sa.Boolean(),
    "integer": sa.BigInteger(),
    "double": sa.Double(),
    "text": sa.Text(),
    "bytes": sa.LargeBinary(),
    "decimal": sa.Numeric().with_variant(sa.Text(), "sqlite"),
    "timestamp": TIMESTAMP,
    "local_timestamp": sa.DateTime().with_variant(sa.Text(), "sqlite"),
    "date": sa.Date().with_variant(sa.Text(), "sqlite"),
    "json": sa.Text().with_variant(JSONB(), "postgresql"),
}

OFFSETS = sa.Table(
    "sink_offsets",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
)
COLUMNS = sa.Table(
    "sink_columns",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True),
    sa.Column("column_name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
)
LOSSES = sa.Table(
    "sink_losses",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("first_offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last_offset", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("noticed_at", TIMESTAMP, nullable=False),
)
UNREADABLE_COLUMNS = tuple(Column(name, kind) for name, kind in UNREADABLE_FIELDS.items())


def sql_columns(columns: Iterable[Column]) -> list[sa.Column[Any]]:
    """The columns as SQLAlchemy declares them; those of the key are not null."""
    return [
        sa.Column(
            column.name,
            TYPES[column.kind],
            nullable=column.name not in PRIMARY_KEY,
            primary_key=column.name in PRIMARY_KEY,
            autoincrement=False,
        )
        for column in columns
    ]


def table_of_records(name: str, columns: Iterable[Column]) -> sa.Table:
    """A table of records, with indexes by time, and by key and time."""
    table = sa.Table(name, sa.MetaData(), *sql_columns(columns))
    sa.Index(f"ix_{name}_time", table.c.kafka_timestamp)
    sa.Index(
        f"ix_{name}_key",
        sa.func.substr(table.c.kafka_key, sa.text("1"), sa.text(f"{KEY_INDEXED}")),
        table.c.kafka_timestamp,
    )
    return table
