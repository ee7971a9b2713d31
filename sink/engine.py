"""Connections to the database, and its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from common.errors import DependencyDownError, UserError
from common.text import shown

DATABASE = "database"
"""Name of the dependency."""
_CONNECT_S, _LOCK_S = 5, 30
# What SQLite calls a database that a request may find again later: another process has locked it.
_BUSY_MS = 30_000
_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
# PostgreSQL's classes of errors that are about a value or the size of a row.
_DATA = ("22", "54")


def database_url(text: str) -> URL:
    """The address of a database.

    Raises:
        UserError: it is no address, or of a database that is not supported.
    """
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise UserError(
            f"{shown(text)} is no address of a database; write sqlite:///PATH, postgresql://USER@HOST/NAME "
            "or parquet:DIRECTORY"
        ) from error
    if url.drivername not in _DRIVERS:
        raise UserError(f"{shown(url.drivername)} is not supported; use sqlite, postgresql or parquet")
    if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
        raise UserError("a database in memory is gone with the process; write sqlite:///PATH")
    return url.set(drivername=_DRIVERS[url.drivername])


def writing_engine(url: URL) -> Engine:
    """An engine whose transactions lock what they change from their beginning on.

    Raises:
        UserError: the directory of the SQLite file does not exist.
    """
    if url.drivername == "sqlite":
        directory = Path(str(url.database)).absolute().parent
        if not directory.is_dir():
            raise UserError(f"there is no directory {shown(directory)} for the database; create it")
        engine = sa.create_engine(url)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    engine = _postgresql(url)
    # In each transaction: a connection pooler may give each one another connection.
    limits = f"SET LOCAL lock_timeout = '{_LOCK_S}s'"
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(limits))
    return engine


def reading_engine(url: URL) -> Engine:
    """An engine that changes nothing.

    Raises:
        UserError: there is no such SQLite file.
    """
    if url.drivername != "sqlite":
        engine = _postgresql(url)
        # In another zone, times in the first and the last hours of the calendar have no Python form.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET LOCAL timezone = 'UTC'"))
        return engine.execution_options(postgresql_readonly=True)
    path = Path(str(url.database)).absolute()
    if not path.is_file():
        raise UserError(f"there is no database {shown(path)} yet; `hazardstream sink` creates it")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_CONNECT_S, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)


def _postgresql(url: URL) -> Engine:
    arguments = {
        "connect_timeout": _CONNECT_S,
        "application_name": "hazardstream",
        "tcp_user_timeout": 1000 * _LOCK_S,
        "keepalives_idle": _LOCK_S,
        # A connection pooler may give each transaction another connection.
        "prepare_threshold": None,
    }
    given = set(url.query)
    return sa.create_engine(url, connect_args={n: v for n, v in arguments.items() if n not in given}, pool_size=2)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin as `writing_engine` says
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def is_about_data(error: BaseException) -> bool:
    """Whether the database refuses a value or the size of a row, so that it would refuse it again."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    if isinstance(cause, psycopg.Error):
        return isinstance(cause, psycopg.DataError) or (cause.sqlstate or "")[:2] in _DATA
    return isinstance(cause, sqlite3.DataError | OverflowError | UnicodeError)


@contextmanager
def waiting_for(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into `DependencyDownError`, but for those that `is_about_data`."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error) as error:
        if is_about_data(error):
            raise
        # Not only of this connection: after a failover all of them are of the wrong server.
        engine.dispose()
        cause = getattr(error, "orig", None) or error
        raise DependencyDownError(DATABASE, f"{engine.url.render_as_string()}: {shown(cause, 500)}") from error
