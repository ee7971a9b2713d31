"""The terminal view of the demo."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.text import shown
from local.audit import Audit
from local.output_watcher import Watcher
from pipelines.battery_hazard.simulator.live import SimulationSummary


def picture(
    watcher: Watcher, produced: SimulationSummary | None, health: Mapping[str, Any], address: str, seconds: float
) -> RenderableType:
    """The live view: counts, rate, latency, lag and modules in alarm."""
    counts = watcher.counts
    active, lines = watcher.active.copy(), watcher.alarm_lines.copy()  # the watcher goes on adding
    table = Table.grid(padding=(0, 3))
    elapsed = produced.seconds if produced else 0.0
    for left, right in (
        (("produced", _count(produced.produced if produced else 0)), ("readings/s scored", f"{watcher.rate():,.0f}")),
        (("scored", _count(counts["predictions"])), ("latency p50 / p99", _latency(watcher))),
        (
            ("dead letters", _count(counts["dead_letters"])),
            ("consumer lag", _count(sum(health.get("lag", {}).values()))),
        ),
        (("modules in alarm", f"{len({key for key, _ in active})}"), ("sidecar", address)),
    ):
        table.add_row(left[0], Text(left[1], "bold"), right[0], Text(shown(right[1]), "bold"))
    alarms = Text("\n".join(map(shown, lines))) or Text("no alarm yet; faults are developing", "dim")
    bar = ProgressBar(total=seconds, completed=min(elapsed, seconds), width=70)
    return Panel(Group(table, "", bar, "", alarms), title="hazardstream demo")


def summary(
    audit: Audit, simulated: SimulationSummary, latency_ms_p50: float | None, latency_ms_p99: float | None, broker: str
) -> RenderableType:
    """The table at the end."""
    table = Table(title="Every record accounted for, read back by an independent read_committed consumer")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    reasons = ", ".join(f"{reason} {count}" for reason, count in audit.reasons.items())
    for row in (
        ("produced", audit.produced, f"messages on the input topic; broker: {broker}"),
        ("scored", audit.scored, f"readings with a prediction, of {audit.modules} modules"),
        ("dead-lettered", audit.dead_lettered, reasons or "none"),
        ("deduplicated", audit.deduplicated, "same module, event time and values again: dropped"),
        ("duplicates", audit.duplicates, "readings with more than one outcome"),
        ("missing", audit.missing, "readings with no outcome"),
        ("alarms", audit.alarms, f"raised; {simulated.faults} modules fail, and alarm neighbours by heat and smoke"),
    ):
        table.add_row(row[0], _count(row[1]), row[2])
    latency = f"{latency_ms_p50} / {latency_ms_p99} ms"
    table.add_row("latency", latency, "p50 / p99, reading on the broker to committed prediction")
    return table


def _count(number: int) -> str:
    return f"{number:,}"


def _latency(watcher: Watcher) -> str:
    middle, high = watcher.latency_ms(50), watcher.latency_ms(99)
    return "-" if middle is None else f"{middle:,.0f} / {high:,.0f} ms"
