"""The result of the user's own SQL over the files, as a table."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from common.errors import UserError
from producers.recordings.database import quoted, reason
from producers.recordings.fields import numeric_columns
from producers.recordings.source_table import SourceTable


def query_table(query: str, tables: Sequence[SourceTable], database: duckdb.DuckDBPyConnection) -> SourceTable:
    """Evaluate SQL once, and keep its result in the database.

    The files are `file1`, `file2`, …, and `file` is all of them, matched by name. Columns of numbers are numbers there.

    Raises:
        UserError: the SQL cannot be evaluated.
    """
    for number, table in enumerate(tables, 1):
        database.execute(f"CREATE VIEW file{number} AS {_view(table, database)}")
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM file{number}" for number in range(1, len(tables) + 1))
    try:
        database.execute(f"CREATE VIEW file AS {union}")
        database.execute(f"CREATE TABLE queried AS {query.strip().rstrip(';')}")
        found = database.execute("DESCRIBE queried").fetchall()
    except duckdb.Error as error:
        columns = "; ".join(f"file{n}: {', '.join(t.ids.values())}" for n, t in enumerate(tables, 1))
        raise UserError(f"--query: {reason(error)}; the columns are {columns}") from error
    return Queried(tables[0].path, Path(), tuple(str(row[0]) for row in found), {str(r[0]): str(r[1]) for r in found})


class Queried(SourceTable):
    """The result of a query."""

    def rows(self, rejects: str | None = None) -> str:
        """See `SourceTable.rows`."""
        del rejects
        return 'SELECT *, false AS "=short", false AS "=long" FROM queried'


def _view(table: SourceTable, database: duckdb.DuckDBPyConnection) -> str:
    texts = [name for name in table.names if table.is_text(name)]
    numbers = numeric_columns(table, texts, database)
    replaced = ", ".join(f"{table.number(quoted(table.ids[n]))} AS {quoted(table.ids[n])}" for n in numbers)
    columns = f'* EXCLUDE ("=short", "=long") {f"REPLACE ({replaced})" if replaced else ""}'
    return f'SELECT {columns} FROM ({table.rows()}) WHERE NOT "=short" AND NOT "=long"'
