"""What `hazardstream stats` shows on a screen."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from common.text import shown


def show_stats(console: Console, found: Mapping[str, Any], hours: int) -> None:
    """Print tables, predictions by model and hour, unreadable records and losses.

    Args:
        console: to print on.
        found: see `sink.queries.database_stats`, with `models` of `predictions_by_model`.
        hours: how far back predictions were counted.
    """
    console.print(_tables(found))
    if found["models"]:
        console.print(_models(found["models"], hours))
    else:
        console.print(f"no predictions in the last {hours} hours")
    for row in found["unreadable"]:
        console.print(f"unreadable in {shown(row['table_name'])}: {row['records']:,} ({shown(row['reason'])})")
    for row in found["losses"]:
        last = "?" if row["last_offset"] is None else row["last_offset"]
        console.print(
            f"lost: {shown(row['topic'])}/{row['partition']}, offsets {row['first_offset']} to {last} "
            f"({row['reason']}), noticed at {_seconds(row['noticed_at'])}"
        )


def _tables(found: Mapping[str, Any]) -> Table:
    made = Table(title=f"{found['database']}, {found['bytes']:,} bytes")
    made.add_column("table", overflow="fold")
    made.add_column("rows", justify="right", no_wrap=True)
    made.add_column("first", no_wrap=True)
    made.add_column("last", no_wrap=True)
    for name, of_table in found["tables"].items():
        made.add_row(
            shown(name), f"{of_table['rows']:,}", _seconds(of_table["first_at"]), _seconds(of_table["last_at"])
        )
    return made


def _models(rows: list[Mapping[str, Any]], hours: int) -> Table:
    made = Table(title=f"Predictions of the last {hours} hours")
    made.add_column("hour", no_wrap=True)
    made.add_column("model", overflow="fold")
    made.add_column("version", overflow="fold")
    made.add_column("predictions", justify="right", no_wrap=True)
    for row in rows:
        hour = row["hour"].replace(":00:00Z", ":00Z")
        made.add_row(hour, shown(row["model_name"]), shown(row["model_version"]), f"{row['predictions']:,}")
    return made


def _seconds(time: str | None) -> str:
    """A time in ISO 8601 without fractions of a second."""
    return "-" if time is None else f"{time.partition('.')[0].removesuffix('Z')}Z"
