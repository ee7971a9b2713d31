"""Creates and changes the tables of a database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import Connection, Engine

from common.errors import UserError
from sink.columns import RECORD, Column
from sink.schema import COLUMNS, UNREADABLE, UNREADABLE_COLUMNS, sql_columns, table_of_records

# Any number, the same for all sinks.
_LOCK = 7_202_611_26


def migrate(engine: Engine) -> None:
    """Bring the sink's own tables to the version of this release."""
    config = Config()
    config.set_main_option("script_location", "sink:migrations")
    with _alone(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    add_columns(engine, UNREADABLE, {column.name: column for column in UNREADABLE_COLUMNS})


def known_columns(connection: Connection, table: str) -> dict[str, Column]:
    """The columns of a table by field, besides those of all tables; none if it does not exist yet."""
    found = connection.execute(
        sa.select(COLUMNS.c.field, COLUMNS.c.column_name, COLUMNS.c.kind)
        .where(COLUMNS.c.table_name == table)
        .order_by(COLUMNS.c.position)
    )
    return {_field(row.field): Column(row.column_name, row.kind) for row in found}


def add_columns(engine: Engine, table: str, wanted: Mapping[str, Column]) -> None:
    """Create a table with these columns, by field, or add those that it does not have. They may all be null.

    Raises:
        UserError: another sink has added the same field otherwise.
    """
    with _alone(engine) as connection:
        known = known_columns(connection, table)
        if other := [field for field in wanted if field in known and known[field] != wanted[field]]:
            raise UserError(f"another sink has added columns for {other} to table {table}; start this one again")
        new = {field: column for field, column in wanted.items() if field not in known}
        operations = Operations(MigrationContext.configure(connection))
        if not known:
            # Indexes of the table are created with it.
            table_of_records(table, [*RECORD, *new.values()]).create(connection)
        else:
            for column in sql_columns(new.values()):
                operations.add_column(table, column)
        entries = [
            {
                "table_name": table,
                "field": _text(field),
                "column_name": column.name,
                "kind": column.kind,
                "position": at,
            }
            for at, (field, column) in enumerate(new.items(), len(known))
        ]
        if entries:
            connection.execute(sa.insert(COLUMNS), entries)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction in which no other sink changes tables; with SQLite each transaction is alone."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _text(field: str) -> str:
    """A field's name without characters that a database refuses: a foreign schema may have any name."""
    return field.encode("unicode_escape").decode("ascii")


def _field(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")
