"""A look at what is watched as a page with plots."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from common.text import in_html, in_plot
from training.monitoring.drift.check import BASELINE_DAYS, SiteState, Watched
from training.monitoring.drift.events import told_apart
from training.monitoring.performance.rolling import Figures
from training.monitoring.watch import Look

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:13px}
td,th{border-bottom:1px solid #ddd;padding:.3em .7em;text-align:right}
td:first-child,th:first-child{text-align:left}
.active{color:#a3161a;font-weight:600}
img{max-width:100%}
"""
_SHOWN = 12


def write_report(look: Look, directory: Path) -> Path:
    """Write `index.html` and its plots, and return the page.

    Args:
        look: what was found.
        directory: created; files of the same names are replaced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts = ["<h1>Drift and performance</h1>", _standing(look)]
    for number, (site, state) in enumerate(look.states.items()):
        parts.append(f"<h2>Site {in_html(site)}</h2>")
        days = f"{state.baseline_days} of {BASELINE_DAYS} days of baseline" if state.learning else "baseline complete"
        parts.append(f"<p>Model {in_html(' '.join(state.history.model))}; {days}; seen until {_time(state.until_ts)}.")
        for one in (one for one in look.watched if one.site == site):
            plot = f"site-{number}-{one.kind}.png"
            _over_time(one, directory / plot)
            parts += [
                f"<h3>{in_html(one.kind)}</h3>",
                f'<p><img alt="{in_html(one.kind)} over time" src="{plot}">',
                _latest(one),
            ]
            if one.kind == "drift" and (columns := _active_columns(one)):
                plot = f"site-{number}-distributions.png"
                _distributions(state, columns, directory / plot)
                parts.append(f'<p><img alt="distributions before and now" src="{plot}">')
    parts += ["<h2>Performance</h2>", _performance(look.figures)]
    page = directory / "index.html"
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Drift and performance</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )
    return page


def _time(ts: int, precision: str = "minutes") -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec=precision)


def _standing(look: Look) -> str:
    if not look.standing:
        return "<p>Nothing has drifted, is missing, unknown or worse."
    return '<p class="active">Holds now:</p>' + _table(("site", "kind", "subject"), look.standing)


def _latest(one: Watched) -> str:
    """The last window of what is nearest to its limit."""
    share = one.value[-1] / np.maximum(one.limit, 1e-9)
    rows = [
        (
            one.subjects[s],
            *told_apart(float(one.value[-1, s]), float(one.limit[s]), "f", 3),
            "" if one.psi is None else f"{one.psi[-1, s]:.3f}",
            "" if one.q is None else f"{one.q[-1, s]:.2g}",
            "active" if one.active[-1, s] else "",
        )
        for s in np.argsort(-share)[:_SHOWN].tolist()
    ]
    return _table(("last window", "found", "limit", "PSI", "q", ""), rows)


def _performance(found: Figures | None) -> str:
    if found is None:
        return "<p>No labels: `hazardstream label` writes them."
    missed = ", ".join(f"{module} at {_time(ts, 'seconds')}" for module, ts in found.missed)
    rows = [
        ("looked at until", _time(found.until_ts, "seconds")),
        ("confirmed events", f"{found.events}: {found.warned} warned of in time, {found.late} alarmed only afterwards"),
        ("events not warned of in time", missed or "none"),
        ("alarms", f"{found.alarms}: {found.confirmed} with an event behind them, {found.false} marked as false"),
        ("precision", _share(found.precision, found.precision_ci, "no alarm is confirmed or marked as false")),
        ("recall", _share(found.recall, found.recall_ci, "no event is confirmed")),
        ("lead, median", _minutes(found.lead_median_s)),
        ("lead, 10th percentile", _minutes(found.lead_p10_s)),
        ("model", " ".join(found.model).strip() or "not known: there is no alarm"),
    ]
    return _table(("last days", ""), rows)


def _share(value: float | None, interval: tuple[float, float], unknown: str) -> str:
    if value is None:
        return f"not known: {unknown}"
    return f"{value:.2f} (95 % confidence: {interval[0]:.2f} to {interval[1]:.2f})"


def _minutes(seconds: float | None) -> str:
    return "not known: no event is confirmed" if seconds is None else f"{seconds / 60:.1f} minutes"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{in_html(cell)}" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{in_html(cell)}" for cell in row) for row in rows)
    return f"<table><tr>{top}{body}</table>"


def _over_time(one: Watched, path: Path) -> None:
    """What was found, as a share of its limit, of those that came nearest to it."""
    share = one.value / np.maximum(one.limit, 1e-9)
    nearest = np.argsort(-share.max(axis=0))[:_SHOWN]
    at = one.ts.astype("datetime64[ms]")
    figure, axes = plt.subplots(figsize=(10, 3.5), layout="constrained")
    axes.set_prop_cycle(color=mpl.color_sequences["tab20"][: len(nearest)])  # the usual ten repeat
    for s in nearest.tolist():
        axes.plot(at, np.minimum(share[:, s], 5), label=in_plot(one.subjects[s]), marker=".", markersize=3, linewidth=1)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set(ylabel="found / limit", ylim=(0, None))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _active_columns(one: Watched) -> list[str]:
    return [one.subjects[s] for s in np.flatnonzero(one.active[-1]).tolist()][:_SHOWN]


def _distributions(state: SiteState, columns: Sequence[str], path: Path) -> None:
    """Shares by bin: the baseline's days, and the last one."""
    history = state.history
    days = history.complete_days(state.since_ts)
    before = np.sum([history.days[ts].counts for ts in days[:BASELINE_DAYS]], axis=0)
    now = history.days[days[-1]].counts
    figure, grid = plt.subplots(len(columns), 1, figsize=(10, 1.8 * len(columns)), layout="constrained", squeeze=False)
    for axes, name in zip(grid[:, 0], columns, strict=True):
        c = history.columns.index(name)
        for counts, label in ((before, "first days"), (now, "last day")):
            known = counts[c, :-1]
            axes.stairs(known / max(known.sum(), 1), label=label)
        axes.set_title(in_plot(name), fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)
