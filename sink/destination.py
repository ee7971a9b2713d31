"""Where rows are stored: a database, or a directory of Parquet files."""

import socket
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import URL

from common.directories import data_directory
from common.environment import variable
from common.errors import UserError
from sink.batch import Store
from sink.engine import database_url
from sink.parquet_store import ParquetStore
from sink.sql_store import SqlStore

VARIABLE = "HAZARDSTREAM_SINK"
_PARQUET = "parquet:"


class Destination(NamedTuple):
    """One of the two.

    Attributes:
        database: its address.
        directory: of Parquet files.
    """

    database: URL | None
    directory: Path | None

    def store(self) -> Store:
        """Open it.

        Raises:
            UserError: it cannot exist.
        """
        if self.database is not None:
            return SqlStore(self.database)
        return ParquetStore(self.directory or Path())

    @property
    def default_group(self) -> str:
        """A part of the name of the consumer group of all sinks that store here.

        Sinks of one group share the partitions. So sinks with different destinations must not be in one.
        """
        if self.directory is not None:
            place = f"{socket.gethostname()} {self.directory.absolute()}"
        elif self.database is not None and self.database.drivername == "sqlite":
            place = f"{socket.gethostname()} {Path(str(self.database.database)).absolute()}"
        else:
            place = str(self.database and self.database.set(username=None, password=None))
        return sha256(place.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        return f"{_PARQUET}{self.directory}" if self.database is None else self.database.render_as_string()


def destination(given: str | None, pipeline: str) -> Destination:
    """The destination that is given, else that of the environment, else an SQLite file in the user's data directory.

    Args:
        given: `sqlite:///PATH`, `postgresql://USER@HOST/NAME` or `parquet:DIRECTORY`.
        pipeline: its name.

    Raises:
        UserError: it is not one of these.
    """
    text = given or variable(VARIABLE)
    if text is None:
        directory = data_directory("for a database", f"set {VARIABLE}, or HOME")
        directory.mkdir(parents=True, exist_ok=True)
        return Destination(URL.create("sqlite", database=str(directory / f"{pipeline}.sqlite")), None)
    if text.startswith(_PARQUET):
        path = text.removeprefix(_PARQUET).removeprefix("//")
        if not path:
            raise UserError("parquet: needs a directory; write parquet:DIRECTORY")
        return Destination(None, Path(path))
    return Destination(database_url(text), None)


def database(given: str | None, pipeline: str) -> URL:
    """The database to query; see `destination`.

    Raises:
        UserError: it is none.
    """
    found = destination(given, pipeline)
    if found.database is None:
        raise UserError("Parquet files are not queried by this command; read them with pandas, DuckDB or Spark")
    return found.database
