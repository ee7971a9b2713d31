"""The report about recent rows: a picture for people and JSON for machines."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")
from matplotlib import pyplot as plt

from common.json_text import strict_json
from common.text import in_plot
from training.monitoring.drift.check import LEAST_DISTANCE
from training.monitoring.rows.drift import ColumnDrift, Decision

PNG, JSON = "drift.png", "drift.json"
_MOST_SHOWN = 6
_BINS = 40


def write_row_report(
    decision: Decision, before: pd.DataFrame, now: pd.DataFrame, directory: Path, **more: Any
) -> dict[str, Any]:
    """Write `drift.png` and `drift.json`, and return what the latter holds.

    Args:
        decision: what was found.
        before: rows of the training.
        now: recent rows.
        directory: created if needed; files of the same names are replaced.
        more: further values of the JSON file, such as the model's version.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = {
        **more,
        "rows": {"training": len(before), "recent": len(now)},
        "retrain": decision.retrain,
        "reasons": list(decision.reasons),
        "columns": [asdict(column) for column in decision.columns],
    }
    (directory / JSON).write_text(strict_json(found), encoding="utf-8")
    _plot(decision, before, now, directory / PNG)
    return found


def _plot(decision: Decision, before: pd.DataFrame, now: pd.DataFrame, path: Path) -> None:
    """Distances of all columns, and the distributions of those that are furthest apart."""
    order = sorted(decision.columns, key=lambda column: column.distance)
    furthest = order[::-1][:_MOST_SHOWN]
    rows = max(3, (len(furthest) + 1) // 2)
    figure = plt.figure(figsize=(12, 2.2 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 3)
    bars = figure.add_subplot(grid[:, 0])
    colors = ["tab:red" if column.drifted else "tab:blue" for column in order]
    bars.barh([in_plot(column.name) for column in order], [column.distance for column in order], color=colors)
    bars.axvline(LEAST_DISTANCE, color="black", linewidth=0.8, linestyle="--")
    bars.set(xlabel="distance of the distributions", xlim=(0, 1))
    bars.set_title("train again" if decision.retrain else "no reason to train again", fontsize=9)
    for place, column in enumerate(furthest):
        axes = figure.add_subplot(grid[place // 2, 1 + place % 2])
        _distributions(axes, column, before[column.name].dropna(), now[column.name].dropna())
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _distributions(axes: Any, column: ColumnDrift, before: pd.Series, now: pd.Series) -> None:
    if column.kind == "category":
        names = sorted({*before, *now}, key=str)
        for offset, values, label in ((-0.2, before, "training"), (0.2, now, "recent")):
            shares = values.value_counts(normalize=True).reindex(names, fill_value=0)
            axes.bar(np.arange(len(names)) + offset, shares, width=0.4, label=label)
        axes.set_xticks(np.arange(len(names)), [in_plot(str(name)) for name in names], fontsize=6)
    else:
        both = np.concatenate((before, now))
        edges = np.histogram_bin_edges(
            both[(both >= np.quantile(both, 0.005)) & (both <= np.quantile(both, 0.995))], _BINS
        )
        for values, label in ((before, "training"), (now, "recent")):
            counts = np.histogram(values, edges)[0]
            axes.stairs(counts / max(counts.sum(), 1), edges, label=label)
    axes.set_title(f"{in_plot(column.name)}: {column.distance:.2f}", fontsize=8)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6)
