"""The values of a label column: 1 from an event on, 0 before."""

import duckdb

from common.errors import UserError
from common.text import shown
from producers.recordings.bad_rows import SHOWN
from producers.recordings.database import first_row, quoted
from producers.recordings.load import Loaded


def require_labels(loaded: Loaded, label: str | None, database: duckdb.DuckDBPyConnection) -> None:
    """Refuse a label column that holds something else than labels.

    Raises:
        UserError: it does; the text shows the first few.
    """
    found = first_row(database.execute("SELECT file FROM readings WHERE label = 2 AND fault = 0 LIMIT 1"))
    if label is None or not found:
        return
    table, source = loaded.tables[found[0]], loaded.sources[found[0]].label
    column = quoted(table.ids[source.column]) if source is not None and source.column else "''"
    texts = database.execute(
        f"SELECT DISTINCT {column} AS t FROM ({table.rows()}) WHERE TRY_CAST({column} AS DOUBLE) IS NULL AND "
        f"lower({column}) NOT IN ('', 'true', 'false', 'yes', 'no') ORDER BY t LIMIT {SHOWN}"
    ).fetchall()
    raise UserError(
        f"--label-column {label} holds {', '.join(shown(text) for (text,) in texts)}; "
        "write 1 (or true) from the event on, and 0 (or false) before"
    )
