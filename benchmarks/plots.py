"""Plots of docs/performance.md, from the `--json` output of the benchmarks; see benchmarks.report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.catalogue import PEERS

_DOTS_PER_INCH = 110
_NAMES = {
    "pass_through": ("pass-through", "0.55"),
    "at_least_once": ("at least once", "tab:orange"),
    "exactly_once": ("exactly once", "tab:blue"),
}
_MARKS = {"p50": "o", "p99": "s", "p99.9": "^"}
_BARS_MS = {"p50": 20, "p99": 50}
_TICKS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_TICKS_MB = (100, 200, 500, 1000, 2000, 5000, 10_000)


def throughput(figures: dict[str, Any]) -> Figure:
    """Readings per second of one process, compared with the pass-through."""
    made, axis = plt.subplots(figsize=(8, 2.2), layout="constrained")
    paces = figures["readings_per_s"]
    _bars(axis, [_NAMES[name][0] for name in paces], list(paces.values()), [_NAMES[name][1] for name in paces])
    axis.set_xlabel(
        f"readings/s of one process ({figures['modules']:,} modules, {figures['cpus']} CPUs with the broker)"
    )
    return made


def peers(figures: dict[str, Any]) -> Figure:
    """Predictions per second of the worker and its peers, on a logarithmic scale."""
    measured = {name: of for name, of in figures["peers"].items() if "pace" in of}
    paces = {PEERS[name].title: of["pace"]["per_s"] for name, of in measured.items()}
    paces = dict(sorted(paces.items(), key=lambda pair: pair[1]))
    exactly = {PEERS[name].title for name, of in measured.items() if of["guarantee"] == "exactly once"}
    paces["hazardstream worker"] = figures["worker"]["pace"]["per_s"]
    made, axis = plt.subplots(figsize=(8, 0.8 + 0.3 * len(paces)), layout="constrained")
    colours = ["tab:blue" if name == "hazardstream worker" else "0.55" for name in paces]
    _bars(axis, [f"{name}*" if name in exactly else name for name in paces], list(paces.values()), colours)
    axis.set_xscale("log")
    axis.set_xlim(min(paces.values()) / 2, 2.5 * max(paces.values()))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel("predictions/s, logarithmic (* exactly once, like the worker)")
    return made


def _bars(axis: Axes, names: list[str], values: list[float], colours: list[str]) -> None:
    axis.xaxis.set_major_formatter("{x:,.0f}")
    drawn = axis.barh(names, values, color=colours)
    axis.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=4)
    axis.set_xlim(right=1.18 * max(values))
    axis.spines[["top", "right"]].set_visible(False)


def latency(figures: dict[str, Any]) -> Figure:
    """Percentiles by rate, one column of marks for each contender; dashed lines are the required values."""
    found = figures["latency_ms"]
    rates = list(found["exactly_once"])
    made, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for place, (name, (title, colour)) in enumerate(_NAMES.items()):
        at = [number + 0.22 * (place - 1) for number in range(len(rates))]
        low, high = ([found[name][rate][which] for rate in rates] for which in ("p50", "p99.9"))
        axis.vlines(at, low, high, color=colour, linewidth=1.5)
        for which, mark in _MARKS.items():
            values = [found[name][rate][which] for rate in rates]
            axis.scatter(at, values, marker=mark, color=colour, label=f"{title}, {which}", zorder=3)
    if "10000" in rates:
        middle = rates.index("10000")
        for which, bar_ms in _BARS_MS.items():
            axis.hlines(bar_ms, middle - 0.45, middle + 0.45, color="tab:blue", linestyle="--", linewidth=0.8)
            axis.text(
                middle - 0.45, bar_ms, f"{which}, required of exactly once", va="bottom", fontsize=7, color="tab:blue"
            )
    axis.set_yscale("log")
    low_ms, high_ms = axis.get_ylim()
    axis.set_yticks([tick for tick in _TICKS_MS if low_ms <= tick <= high_ms])
    axis.minorticks_off()
    axis.set_ylim(low_ms, 2.5 * high_ms)  # room for the legend
    axis.set_xticks(range(len(rates)), [f"{int(rate):,} readings/s" for rate in rates])
    axis.set_ylabel("ms, from due time to arrival")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(ncols=3, fontsize=8, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    return made


def scale(figures: dict[str, Any]) -> Figure:
    """Cost of a reading, and memory, by number of modules."""
    runs = {int(count): of for count, of in figures["by_modules"].items()}
    made, (cost, memory) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    modules = list(runs)
    cost.plot(modules, [of["cpu_us_a_reading"] for of in runs.values()], "o-", label="processor time")
    cost.plot(
        modules, [1e6 / of["readings_per_s"] for of in runs.values()], "s--", color="0.55", label="wall-clock time"
    )
    cost.set_ylabel("us per reading")
    cost.set_ylim(bottom=0)
    cost.legend()
    memory.plot(modules, [of["rss_bytes"] / 1e6 for of in runs.values()], "o-", label="resident")
    memory.plot(modules, [of["peak_rss_bytes"] / 1e6 for of in runs.values()], "^:", color="0.55", label="peak")
    memory.set_yscale("log")
    memory.set_ylabel("memory of the process, MB")
    memory.set_yticks(_TICKS_MB)
    memory.set_ylim(_TICKS_MB[0], max(_TICKS_MB[4], 1.2 * max(of["peak_rss_bytes"] for of in runs.values()) / 1e6))
    memory.yaxis.set_major_formatter("{x:,.0f}")
    memory.legend()
    for axis in (cost, memory):
        axis.set_xscale("log")
        axis.set_xticks(modules, [f"{count:,}" for count in modules], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel("modules")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return made


PLOTS: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "throughput": throughput,
    "latency": latency,
    "scale": scale,
    "peers": peers,
}
"""By benchmark."""


def draw(name: str, figures: dict[str, Any], directory: Path) -> None:
    """Draw a benchmark's figures as performance-NAME.png."""
    made = PLOTS[name](figures)
    made.savefig(directory / f"performance-{name}.png", dpi=_DOTS_PER_INCH)
    plt.close(made)
