"""The report about recent rows: a picture for people and JSON for machines."""

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")
from matplotlib import pyplot as plt

from common.json_text import strict_json
from common.text import in_plot, shown
from training.monitoring.drift.check import LEAST_DISTANCE
from training.monitoring.rows.drift import ColumnDrift, Decision

PNG, JSON = "drift.png", "drift.json"
_MOST_SHOWN = 6
_BINS = 40
_LINE = 150  # characters


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
    model = " version ".join(str(more[name]) for name in ("model", "model_version") if name in more)
    _plot(decision, before, now, directory / PNG, model)
    return found


def _plot(decision: Decision, before: pd.DataFrame, now: pd.DataFrame, path: Path, model: str) -> None:
    """The decision, distances of all columns, and the distributions of those that are furthest apart."""
    order = sorted(decision.columns, key=lambda column: column.distance)
    furthest = order[::-1][:_MOST_SHOWN]
    rows = max(3, (len(furthest) + 1) // 2)
    said = "\n".join(textwrap.fill(shown(reason), _LINE).replace("$", r"\$") for reason in decision.reasons)
    figure = plt.figure(figsize=(12, 2.2 * rows + 0.25 * (2 + said.count("\n"))), layout="constrained")
    answer = "train again" if decision.retrain else "no reason to train again"
    figure.suptitle(
        f"{in_plot(model)}: {answer} ({len(before):,} test rows of the training, {len(now):,} recent rows)\n{said}",
        fontsize=10,
    )
    grid = figure.add_gridspec(rows, 3)
    bars = figure.add_subplot(grid[:, 0])
    colors = ["tab:red" if column.drifted else "tab:blue" for column in order]
    bars.barh([in_plot(column.name) for column in order], [column.distance for column in order], color=colors)
    bars.axvline(LEAST_DISTANCE, color="black", linewidth=0.8, linestyle="--", label=f"limit {LEAST_DISTANCE}")
    bars.set(xlabel="distance of the distributions; red: drifted", xlim=(0, 1))
    bars.tick_params(labelsize=8)
    bars.legend(fontsize=7, loc="lower right")
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
        axes.set_xticks(np.arange(len(names)), [in_plot(shown(name, 16)) for name in names])
        axes.tick_params("x", rotation=20)
    else:
        both = np.concatenate((before, now))
        edges = np.histogram_bin_edges(
            both[(both >= np.quantile(both, 0.005)) & (both <= np.quantile(both, 0.995))], _BINS
        )
        for values, label in ((before, "training"), (now, "recent")):
            counts = np.histogram(values, edges)[0]
            axes.stairs(counts / max(counts.sum(), 1), edges, label=label)
    axes.set_title(f"{in_plot(column.name)}: {column.finding}", fontsize=8)
    axes.set_ylabel("share of rows", fontsize=6)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6)
