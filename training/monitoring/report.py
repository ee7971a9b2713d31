"""The monitoring report: a page with plots of drift, missing sensors and performance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.times import iso_utc
from training.monitoring.drift.check import BASELINE_DAYS, SiteState, Watched
from training.monitoring.drift.events import told_apart
from training.monitoring.performance.rolling import Figures
from training.monitoring.plots import SHOWN, plot_distributions, plot_over_time
from training.monitoring.watch import Look
from training.reports.render import render

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(look: Look, directory: Path) -> Path:
    """Write `index.html` and its plots, and return the path of the page.

    Args:
        look: the results of one check.
        directory: created if needed; files of the same names are replaced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / "index.html"
    page.write_text(
        render(
            _TEMPLATE,
            title="Drift and performance",
            active=look.active,
            sites=list(_sites(look, directory)),
            performance=None if look.figures is None else _performance(look.figures),
        )
    )
    return page


def _sites(look: Look, directory: Path) -> Iterator[dict[str, Any]]:
    for number, (site, state) in enumerate(look.states.items()):
        days = f"{state.baseline_days} of {BASELINE_DAYS} days of baseline" if state.learning else "baseline complete"
        yield {
            "name": site,
            "model": " ".join(state.history.model),
            "baseline": days,
            "until": iso_utc(state.until_ts, "minutes"),
            "checks": [
                _check(state, watched, f"site-{number}", directory) for watched in look.watched if watched.site == site
            ],
        }


def _check(state: SiteState, watched: Watched, prefix: str, directory: Path) -> dict[str, Any]:
    plot, distributions = f"{prefix}-{watched.kind}.png", None
    plot_over_time(watched, directory / plot)
    active = [watched.subjects[s] for s in np.flatnonzero(watched.active[-1]).tolist()][:SHOWN]
    if watched.kind == "drift" and active:
        distributions = f"{prefix}-distributions.png"
        plot_distributions(state, active, directory / distributions)
    return {"kind": watched.kind, "plot": plot, "rows": _last_window(watched), "distributions": distributions}


def _last_window(watched: Watched) -> list[tuple[str, ...]]:
    """A row for each of the subjects nearest to their limit."""
    share = watched.value[-1] / np.maximum(watched.limit, 1e-9)
    return [
        (
            watched.subjects[s],
            *told_apart(float(watched.value[-1, s]), float(watched.limit[s]), "f", 3),
            "" if watched.psi is None else f"{watched.psi[-1, s]:.3f}",
            "" if watched.q is None else f"{watched.q[-1, s]:.2g}",
            "active" if watched.active[-1, s] else "",
        )
        for s in np.argsort(-share)[:SHOWN].tolist()
    ]


def _performance(found: Figures) -> list[tuple[str, str]]:
    missed = ", ".join(f"{key} at {iso_utc(ts)}" for key, ts in found.missed)
    return [
        ("data until", iso_utc(found.until_ts)),
        ("confirmed events", f"{found.events}: {found.warned} warned of in time, {found.late} alarmed only afterwards"),
        ("events without a warning in time", missed or "none"),
        ("alarms", f"{found.alarms}: {found.confirmed} explained by an event, {found.false} marked as false"),
        ("precision", _share(found.precision, found.precision_ci, "no alarm is confirmed or marked as false")),
        ("recall", _share(found.recall, found.recall_ci, "no event is confirmed")),
        ("lead time, median", _minutes(found.lead_median_s)),
        ("lead time, 10th percentile", _minutes(found.lead_p10_s)),
        ("model", " ".join(found.model).strip() or "not known: there is no alarm"),
    ]


def _share(value: float | None, interval: tuple[float, float], unknown: str) -> str:
    if value is None:
        return f"not known: {unknown}"
    return f"{value:.2f} (95 % confidence: {interval[0]:.2f} to {interval[1]:.2f})"


def _minutes(seconds: float | None) -> str:
    return "not known: no event is confirmed" if seconds is None else f"{seconds / 60:.1f} minutes"
