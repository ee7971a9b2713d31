"""Writes results into the tables and plots of docs/performance.md, so that figures are not copied by hand.

Example:
    make bench && python -m benchmarks.report build/benchmarks
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import latency, restore, scale, stages, throughput
from benchmarks.peers.catalogue import PEERS
from benchmarks.plan import cost_model, cost_table, plan_table
from benchmarks.plots import PLOTS, draw
from common.terminal import say

_WIDTH = 300
_PLAN_NEEDS = ("throughput", "scale", "restore")


def peers_table(figures: dict[str, Any]) -> Table:
    """The worker compared with its peers, the fastest first."""
    shown = Table("contender", "version")
    for heading in ("predictions/s", "ours is", "per CPU s"):
        shown.add_column(heading, justify="right")
    shown.add_column("each reading")
    shown.add_column("gives up")
    ours = figures["worker"]["pace"]
    shown.add_row(
        "hazardstream worker", "", f"{ours['per_s']:,.0f}", "", f"{ours['per_cpu_s']:,.0f}", "exactly once", ""
    )
    known = {name: of for name, of in figures["peers"].items() if "pace" in of}
    for name, of in sorted(known.items(), key=lambda pair: -pair[1]["pace"]["per_s"]):
        pace = of["pace"]
        times = f"{ours['per_s'] / pace['per_s']:.1f} x"
        cells = f"{pace['per_s']:,.0f}", times, f"{pace['per_cpu_s']:,.0f}", of["guarantee"], of["gives_up"]
        shown.add_row(PEERS[name].title, of["version"], *cells)
    for name in figures["peers"].keys() - known.keys():
        shown.add_row(PEERS[name].title, figures["peers"][name]["version"], "not measured")
    return shown


TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {
    "throughput": throughput.table,
    "latency": latency.table,
    "scale": scale.table,
    "restore": restore.table,
    "stages": stages.table,
    "peers": peers_table,
}


def markdown(table: Table) -> str:
    """A table as Markdown, with its title before and its caption after it."""
    title, caption, table.title, table.caption, table.box = table.title, table.caption, None, None, box.MARKDOWN
    text = StringIO()
    Console(file=text, width=_WIDTH, highlight=False, color_system=None).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    lines = [re.sub(r" {2,}", " ", re.sub(r"-{3,}", "---", line)) for line in lines]
    return "\n".join([*([f"{title}:", ""] if title else []), *lines, *(["", f"{caption}."] if caption else [])])


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        typer.BadParameter: the page has no such markers.
    """
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not place.search(page):
        raise typer.BadParameter(f"the page has no <!-- {name} --> … <!-- /{name} -->")
    return place.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


def main(
    results: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Directory with NAME.json of each benchmark.")
    ],
    page: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Page to update. Plots are written next to it.")
    ] = Path("docs/performance.md"),
) -> None:
    """Write the `--json` output of the benchmarks into the page. Parts without a result stay unchanged.

    Example: python -m benchmarks.report build/benchmarks
    """
    text, found = page.read_text(), dict[str, dict[str, Any]]()
    for name, table in TABLES.items():
        file = results / f"{name}.json"
        if not file.exists():
            continue
        figures = found[name] = json.loads(file.read_text().splitlines()[-1])
        day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
        said = f"{markdown(table(figures))}\n\n`python -m benchmarks.{name} --json`, {figures['cpus']} CPUs, {day}."
        text = replaced(text, name, said)
        if name in PLOTS:
            draw(name, figures, page.parent)
    if found.keys() >= set(_PLAN_NEEDS):
        cost = cost_model(*(found[name] for name in _PLAN_NEEDS))
        text = replaced(text, "plan", f"{markdown(cost_table(cost))}\n\n{markdown(plan_table(cost))}")
    page.write_text(text)
    say(f"{page}: {', '.join(found) or 'no result found'}")


if __name__ == "__main__":
    typer.run(main)
