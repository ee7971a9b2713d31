"""Where time runs backwards within a file, and which of its columns says why: a cycle, a run, a device."""

import duckdb

from common.errors import UserError
from common.text import shown
from common.times import DAY_MS, HOUR_MS
from producers.recordings.database import first_row, quoted
from producers.recordings.load import Loaded

_ROWS, _COLUMNS = 200_000, 100
_HALF_DAY_MS = 12 * HOUR_MS


def restart_note(loaded: Loaded, file: int, database: duckdb.DuckDBPyConnection) -> str:
    """A sentence about times of a file that run backwards, empty if there are none.

    Raises:
        UserError: texts of h:mm:ss run back by more than half a day, as times of day do at midnight.
    """
    table, sources = loaded.tables[file], loaded.sources[file]
    unused = [name for name in table.names if name not in sources.used][:_COLUMNS]
    ids = [quoted(table.ids[name]) for name in unused]
    changes = "".join(
        f", count(*) FILTER (time < was AND c{i} IS DISTINCT FROM p{i}), count(*) FILTER (c{i} IS DISTINCT FROM p{i})"
        for i in range(len(ids))
    )
    now = "".join(f", {name} AS c{i}" for i, name in enumerate(ids))
    before = "".join(f", lag(c{i}) OVER w AS p{i}" for i in range(len(ids)))
    kept = "".join(f", c{i}" for i in range(len(ids)))
    found = first_row(
        database.execute(
            f"""SELECT count(*) FILTER (time < was), max(was - time) {changes} FROM (
          SELECT time, lag(time) OVER w AS was {kept} {before} FROM (
            SELECT row_number() OVER () - 1 AS row {now} FROM ({table.rows()}) LIMIT {_ROWS}) raw
          JOIN (SELECT rowid - {loaded.begins[file]} AS row, key, time FROM readings
                WHERE file = {file} AND fault = 0 LIMIT {_ROWS}) USING (row)
          WINDOW w AS (PARTITION BY key ORDER BY row)) WHERE was IS NOT NULL"""
        )
    ) or (0, 0)
    back = int(found[0])
    if not back:
        return ""
    explains = {
        name: int(found[3 + 2 * i])
        for i, name in enumerate(unused)
        if int(found[2 + 2 * i]) == back and int(found[3 + 2 * i]) <= 3 * back
    }
    note = f"time runs backwards {back:,} times in {shown(table.path.name)}"
    best = min(explains, key=explains.__getitem__) if explains else ""
    if loaded.form is not None and loaded.form.relative and _HALF_DAY_MS < found[1] <= DAY_MS:
        raise UserError(
            f"{note}, by up to {found[1] / HOUR_MS:.1f} hours. Times of day that pass midnight need their date: "
            f"ts={shown(best or 'Date')} || ' ' || {shown(sources.time.text)}, or a --query that adds the days. "
            f"Runs that begin at 0 need --key-columns {shown(best)}".rstrip()
        )
    if best:
        note += (
            f", each time where {shown(best)} changes: its values may be runs of their own, which are then mixed here; "
            f"give --key-columns {shown(best)}"
        )
    return note
