"""Stores rows in a database, in one transaction with the offsets up to which it holds each partition.

A transaction first moves the offset of each partition from the value at which this sink read on, and fails if it is
another: so of two sinks that store the same records, one is refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection

from common.errors import UserError
from common.text import shown
from sink.batch import FencedError, Loss, Origin, Part, Stored, refused_row
from sink.columns import RECORD, Column
from sink.engine import is_about_data, waiting_for, writing_engine
from sink.migration import add_columns, known_columns, migrate
from sink.rows import Row, Table
from sink.schema import LOSSES, OFFSETS, UNREADABLE, UNREADABLE_COLUMNS
from sink.sql_insert import insert
from sink.sql_values import iso_text


class SqlStore:
    """A database.

    Args:
        url: see `sink.engine.database_url`.

    Raises:
        UserError: see `writing_engine`.
    """

    def __init__(self, url: URL) -> None:
        self._engine = writing_engine(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._known: dict[str, dict[str, Column]] = {}

    def prepare(self, topics: dict[str, str]) -> None:
        """Create or migrate the sink's own tables; see `sink.batch.Store`."""
        with waiting_for(self._engine):
            migrate(self._engine)
            with self._engine.begin() as connection:
                for table, topic in topics.items():
                    held = sa.select(OFFSETS.c.topic).where(OFFSETS.c.table_name == table, OFFSETS.c.topic != topic)
                    if other := connection.execute(held.limit(1)).scalar():
                        raise UserError(
                            f"table {table} of {shown(self._engine.url.render_as_string())} holds records of topic "
                            f"{other}, not of {topic}; give each pipeline a database of its own"
                        )

    def columns(self, table: str) -> dict[str, Column]:
        """See `sink.batch.Store`."""
        with waiting_for(self._engine), self._engine.begin() as connection:
            self._known[table] = known_columns(connection, table)
        return self._known[table]

    def start(self, origin: Origin) -> Stored:
        """See `sink.batch.Store`."""
        of_partition = (
            OFFSETS.c.table_name == origin.table,
            OFFSETS.c.topic == origin.topic,
            OFFSETS.c.partition == origin.partition,
        )
        held = sa.select(OFFSETS.c.topic_id, OFFSETS.c.next_offset).where(*of_partition)
        with waiting_for(self._engine), self._engine.begin() as connection:
            rows = connection.execute(held.order_by(OFFSETS.c.updated_at.desc())).all()
        next_offset = next((row.next_offset for row in rows if row.topic_id == origin.topic_id), None)
        if next_offset is not None or not rows:
            return Stored(next_offset)
        return Stored(None, rows[0].topic_id)

    def release(self, origin: Origin) -> None:
        """Nothing is held between transactions."""

    def skip(self, loss: Loss) -> None:
        """See `sink.batch.Store`."""
        with waiting_for(self._engine), self._engine.begin() as connection:
            self._move(connection, loss.origin, loss.expected, loss.resume)
            entry = {
                "table_name": loss.origin.table,
                "topic": loss.origin.topic,
                "topic_id": loss.origin.topic_id,
                "partition": loss.origin.partition,
                "first_offset": loss.first,
                "last_offset": loss.last,
                "reason": loss.reason,
                "noticed_at": self._now(),
            }
            connection.execute(self._insert_once(LOSSES, entry))

    def write(self, parts: Sequence[Part]) -> int:
        """See `sink.batch.Store`."""
        tables = {part.table.name: part.table for part in parts}
        with waiting_for(self._engine):
            for table in tables.values():
                self._ensure_columns(table)
            try:
                with self._transaction(parts) as connection:
                    for table in tables.values():
                        rows = [row for part in parts if part.table is table for row in part.rows]
                        insert(connection, table.name, [*table.columns], rows)
            except (sa.exc.SQLAlchemyError, psycopg.Error, ValueError, OverflowError) as error:
                if not is_about_data(error):
                    raise
                return self._write_one_by_one(parts)
        return 0

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, parts: Sequence[Part]) -> Iterator[Connection]:
        """One that moves the offsets and stores the unreadable records; the caller adds the rows."""
        with self._engine.begin() as connection:
            for part in sorted(parts, key=lambda part: part.origin):  # or two sinks could wait for each other
                self._move(connection, part.origin, part.expected, part.end)
            yield connection
            self._insert_unreadable(connection, [row for part in parts for row in part.unreadable])

    def _write_one_by_one(self, parts: Sequence[Part]) -> int:
        """As `write`, but a row that the database refuses becomes an unreadable record."""
        refused: list[Row] = []
        with self._transaction(parts) as connection:
            for part in parts:
                for row, message in zip(part.rows, part.messages, strict=True):
                    try:
                        with connection.begin_nested():
                            insert(connection, part.table.name, [*part.table.columns], [row])
                    except (sa.exc.SQLAlchemyError, psycopg.Error, ValueError, OverflowError) as error:
                        if not is_about_data(error):
                            raise
                        refused.append(refused_row(part, message, error))
            self._insert_unreadable(connection, refused)
        return len(refused)

    def _insert_unreadable(self, connection: Connection, rows: list[Row]) -> None:
        insert(connection, UNREADABLE, [*RECORD, *UNREADABLE_COLUMNS], rows)

    def _move(self, connection: Connection, origin: Origin, expected: int | None, to: int) -> None:
        """Set the offset of a partition.

        Raises:
            FencedError: it is not the expected one (None: there is none yet).
        """
        place = {
            "table_name": origin.table,
            "topic": origin.topic,
            "topic_id": origin.topic_id,
            "partition": origin.partition,
        }
        entry = {"next_offset": to, "updated_at": self._now()}
        change: Any
        if expected is None:
            change = self._insert_once(OFFSETS, place | entry)
        else:
            at = [OFFSETS.c[name] == value for name, value in place.items()]
            change = sa.update(OFFSETS).where(*at, OFFSETS.c.next_offset == expected).values(**entry)
        if connection.execute(change.returning(OFFSETS.c.partition)).first() is None:
            raise FencedError(f"another sink has stored {origin.topic}/{origin.partition} from offset {expected} on")

    def _insert_once(self, table: sa.Table, entry: dict[str, Any]) -> Any:
        dialect = sqlite if self._sqlite else postgresql
        return dialect.insert(table).values(**entry).on_conflict_do_nothing()

    def _ensure_columns(self, table: Table) -> None:
        known = self._known.get(table.name, {})
        if table.columns.by_field.keys() - known.keys():
            add_columns(self._engine, table.name, table.columns.by_field)
            self._known[table.name] = dict(table.columns.by_field)

    def _now(self) -> Any:
        now = datetime.now(UTC)
        return iso_text(now) if self._sqlite else now
