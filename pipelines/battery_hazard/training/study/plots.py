"""Plots of the evaluation report."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.text import in_plot
from pipelines.battery_hazard.training.evaluation.operator_metrics import EventOutcome
from pipelines.battery_hazard.training.study.evaluate import ANY, LIMITS, SiteResult
from pipelines.battery_hazard.training.study.findings import FULL, NO_GAS

_MINUTES = (0, 1, 2, 5, 10, 20, 50, 100, 200)


def lead_times(results: Sequence[SiteResult], *, bench: bool) -> Figure:
    """Share of events by minimum warning time and mechanism. Solid: any alarm of the pipeline; dashed: limits."""
    ways = ("temperature, voltage, current", "temperature, voltage") if bench else (FULL, NO_GAS)
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained", sharey=True)
    for axis, sensors in zip(axes, ways, strict=True):
        for line, which in (("-", ANY), ("--", LIMITS)):
            events = [
                series.event
                for site in results
                for series in site.of[which]
                if series.event and series.about.bench == bench and series.about.sensors == sensors
            ]
            for color, mechanism in enumerate(sorted({e.mechanism for e in events})):
                _survival(axis, [e for e in events if e.mechanism == mechanism], line, f"C{color}", mechanism)
        axis.axvline(5, color="black", linewidth=0.8)
        axis.set(xlabel="minimum warning time, minutes", title=in_plot(sensors), xscale="symlog", ylim=(0, 1.03))
        axis.set_xticks(_MINUTES, [str(minutes) for minutes in _MINUTES])
        axis.set_xlim(0, _MINUTES[-1])
    axes[0].set_ylabel("share of events")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, title="solid: any alarm\ndashed: limits")
    return figure


def _survival(axis: Axes, events: Sequence[EventOutcome], line: str, color: str, mechanism: str) -> None:
    lead = np.sort([max(e.lead_s or 0.0, 0.0) / 60 for e in events])
    label = in_plot(mechanism) if line == "-" else None
    share = 1 - np.arange(len(lead) + 1) / len(lead)
    axis.step(np.append(0, lead), share, line, where="post", color=color, label=label)


def shares_in_time(found: dict[str, Any]) -> Figure:
    """Share of slow events alarmed five minutes ahead, by set of sensors, with confidence intervals."""
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    groups = {k: v for k, v in found["by_sensors"].items() if v[ANY]["slow_events"]}
    for place, (name, shift) in enumerate(((ANY, -0.2), (LIMITS, 0.2))):
        share = np.array([by[name]["slow_in_time_share"] for by in groups.values()])
        interval = np.array([by[name]["slow_in_time_ci"] for by in groups.values()]).reshape(-1, 2)
        error = np.abs(np.stack([share - interval[:, 0], interval[:, 1] - share]))
        axis.barh(
            np.arange(len(groups)) + shift,
            share,
            0.38,
            xerr=error,
            color=f"C{place}",
            label=name,
            error_kw={"elinewidth": 1},
        )
    axis.set_yticks(range(len(groups)), [in_plot(name) for name in groups])
    axis.set(xlabel="share of slow events alarmed five minutes ahead", xlim=(0, 1.02))
    axis.invert_yaxis()
    figure.legend(loc="outside right upper")
    return figure


def false_alarm_causes(found: dict[str, Any]) -> Figure:
    """Number of false alarms in normal operation, by the nuisance that caused them."""
    causes = {name: found["normal"]["modules"][name]["false_alarms_by_cause"] for name in (ANY, LIMITS)}
    kinds = sorted({kind for counts in causes.values() for kind in counts})
    figure, axis = plt.subplots(figsize=(9, 1.5 + 0.3 * len(kinds)), layout="constrained")
    for place, (name, counts) in enumerate(causes.items()):
        axis.barh(np.arange(len(kinds)) + 0.2 - 0.4 * place, [counts.get(k, 0) for k in kinds], 0.38, label=name)
    axis.set_yticks(range(len(kinds)), ["no nuisance" if kind == "none" else in_plot(kind) for kind in kinds])
    axis.set_xlabel("false alarms in normal operation of modules")
    axis.legend()
    return figure
