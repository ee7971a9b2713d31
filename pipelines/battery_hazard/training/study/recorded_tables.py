"""Figures of recorded destructive tests as tables for a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.text import shown

_SHOWN_FALSE_ALARMS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
_HEADS = {
    "false_critical": "false CRITICAL",
    "false_any": "any alarm, no runaway",
    "any_below_60_c": "any alarm, below 60 °C",
}


def recorded_tables(found: dict[str, Any]) -> RenderableType:
    """Two tables for each set of sensors and sampling period: operating points, and the sweep of the probability."""
    head = (
        f"{found['tests']} tests: {found['runaways']} ran away, {found['others']} did not, "
        f"{found['others_below_60_c']} of these stayed below 60 °C. Brackets: exact 95 % intervals, in %."
    )
    return Group(Text(head), *(table for sampling in found["samplings"] for table in _tables(sampling)))


def _tables(sampling: dict[str, Any]) -> Iterator[Table]:
    what = f"{sampling['sensors']}, a reading every {sampling['period_s']} s"
    points = Table(title=f"Alarms: {what}")
    points.add_column("")
    for point in sampling["operating_points"]:
        points.add_column(shown(point["name"]), justify="right")
    for name in sampling["operating_points"][0]:
        if name != "name":
            shares = (_share(point[name]) for point in sampling["operating_points"])
            points.add_row(_HEADS.get(name) or _within(name), *shares)
    yield points
    sweep = Table(title=f"Runaways found with at most so many false alarms: {what}")
    names = [name for name in sampling["sweep"][0] if name != "false_alarms"]
    sweep.add_column("false alarms", justify="right")
    for name in names:
        sweep.add_column(_within(name), justify="right")
    for row in sampling["sweep"]:
        if row["false_alarms"] in _SHOWN_FALSE_ALARMS:
            sweep.add_row(str(row["false_alarms"]), *(_found(row, name) for name in names))
    yield sweep


def _within(name: str) -> str:
    which, _, limit = name.removesuffix("_s").partition("_within_")
    return f"{ {'critical': 'CRITICAL', 'limits': 'best fixed limit'}.get(which, which) } in {limit} s"


def _share(of: dict[str, Any]) -> str:
    low, high = of["interval"]
    return f"{of['count']}/{of['of']} [{low:.0%}, {high:.0%}]".replace("%", "")


def _found(row: dict[str, Any], name: str) -> Text:
    behind = row[name] < row.get(name.replace("model", "limits"), 0)
    return Text(str(row[name]), "bold red" if behind else "")
