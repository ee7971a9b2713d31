"""The database that reads recordings: DuckDB in a temporary directory, with bounded memory and nothing else in reach.

Files come from strangers, so an expression over their text must not be able to open another file, use the network or
load an extension.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from common.errors import UserError
from common.text import shown

_MEMORY = "192MB"
_THREADS = 2


def open_database(directory: Path, files: Iterable[Path], time_zone: str) -> duckdb.DuckDBPyConnection:
    """A database that can read these files, and write to the directory.

    Args:
        directory: temporary, for the database and what does not fit into memory.
        files: all that may be read.
        time_zone: of times that do not say it.
    """
    database = duckdb.connect(
        str(directory / "readings.duckdb"),
        config={
            "memory_limit": _MEMORY,
            "threads": _THREADS,
            "temp_directory": str(directory),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "preserve_insertion_order": True,
        },
    )
    paths = ", ".join(literal(str(path)) for path in files)
    without_progress(database)
    database.execute(f"SET TimeZone = {literal(time_zone)}")
    database.execute(f"SET allowed_paths = [{paths}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def without_progress(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The same connection, which writes no progress to stdout when a query is slow."""
    return connection.execute("SET enable_progress_bar = false")


def first_row(result: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    """The first row of a result; empty if it has none. Ends the result, so that the connection is free."""
    rows: list[tuple[Any, ...]] = result.fetchall()
    return rows[0] if rows else ()


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def reason(error: duckdb.Error) -> str:
    """What DuckDB says is wrong, on one line, without its hints about its own options."""
    lines = str(error).split("\n")
    kept = [line.strip() for line in lines[: next((i for i, line in enumerate(lines) if not line.strip()), 2)]]
    return shown(" ".join(kept), 300)


def query_error(what: str, error: duckdb.Error, names: Iterable[str]) -> UserError:
    """An error for SQL of the user that cannot be evaluated."""
    return UserError(f"{what}: {reason(error)}; the columns are {', '.join(map(shown, names))}")
