"""Plots of the monitoring report."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from common.text import in_plot
from training.monitoring.drift.check import BASELINE_DAYS, SiteState, Watched

SHOWN = 12
"""How many subjects a plot or table shows: those nearest to their limit."""


def plot_over_time(watched: Watched, path: Path) -> None:
    """Plot each value as a share of its limit, for the subjects that came nearest to it."""
    share = watched.value / np.maximum(watched.limit, 1e-9)
    nearest = np.argsort(-share.max(axis=0))[:SHOWN]
    at = watched.ts.astype("datetime64[ms]")
    figure, axes = plt.subplots(figsize=(10, 3.5), layout="constrained")
    axes.set_prop_cycle(color=mpl.color_sequences["tab20"][: len(nearest)])  # the default ten colours repeat
    for s in nearest.tolist():
        label = in_plot(watched.subjects[s])
        axes.plot(at, np.minimum(share[:, s], 5), label=label, marker=".", markersize=3, linewidth=1)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set(ylabel="found / limit", ylim=(0, None))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_distributions(state: SiteState, columns: Sequence[str], path: Path) -> None:
    """Plot the share of readings by bin: the days of the baseline, and the last day."""
    history = state.history
    days = history.complete_days(state.since_ts)
    before = np.sum([history.days[ts].counts for ts in days[:BASELINE_DAYS]], axis=0)
    now = history.days[days[-1]].counts
    figure, grid = plt.subplots(len(columns), 1, figsize=(10, 1.8 * len(columns)), layout="constrained", squeeze=False)
    for axes, name in zip(grid[:, 0], columns, strict=True):
        c = history.columns.index(name)
        for counts, label in ((before, "baseline"), (now, "last day")):
            known = counts[c, :-1]
            axes.stairs(known / max(known.sum(), 1), label=label)
        axes.set_title(in_plot(name), fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)
