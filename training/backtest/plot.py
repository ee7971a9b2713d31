"""Plots of a backtest: the course of the most relevant keys, and the trade-off between alarm policies."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from common.text import in_plot
from common.times import HOUR_MS
from training.backtest.envelope import BINS
from training.backtest.run import Backtest

_PANELS = 8
_COLOURS = {"warning": "tab:green", "late": "tab:orange", "false": "tab:red"}


def write_plots(result: Backtest, directory: Path) -> list[Path]:
    """Write alarms.png and policies.png.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "alarms.png", directory / "policies.png"]
    _courses(result, written[0])
    _policies(result, written[1])
    return written


def _courses(result: Backtest, path: Path) -> None:
    keys = result.envelopes.ranked()[:_PANELS]
    rows = max(len(keys), 1)
    figure, axes = plt.subplots(rows, 1, figsize=(10, 1.2 + 1.5 * rows), squeeze=False, layout="constrained")
    for axis, key in zip(axes[:, 0], keys, strict=False):
        _course(result, key, axis)
    axes[-1, 0].set_xlabel("hours from the key's first reading")
    more = len(result.recorded.names) - len(keys)
    figure.suptitle(
        "Probability (highest in each span of time), alarms by outcome, events"
        + (f"; {more} more keys not shown" if more > 0 else "")
    )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for axis in axes[1:, 0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _course(result: Backtest, key: int, axis: Axes) -> None:
    span = result.recorded.spans[key]
    course = result.envelopes.courses[key]
    hours = (np.arange(BINS) + 0.5) / BINS * (span.last_ts - span.first_ts) / HOUR_MS
    known = ~np.isnan(course)
    axis.plot(hours[known], course[known], color="tab:blue", lw=1, label="probability")
    axis.axhline(result.policy.setpoint, color="grey", lw=0.8, ls=":", label="setpoint")

    def hour(ts: int) -> float:
        return (ts - span.first_ts) / HOUR_MS

    for event in (e for e in result.events if e.key == key):
        axis.axvline(hour(event.ts), color="black", lw=1.5, label="event")
    for alarm, verdict in zip(result.alarms, result.judged.verdicts, strict=True):
        if alarm.key == key:
            axis.axvline(hour(alarm.ts), color=_COLOURS[verdict], lw=1.5, ls="--", label=f"alarm: {verdict}")
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel(in_plot(result.recorded.names[key][0][-24:]), fontsize=7)
    axis.tick_params(labelsize=7)
    handles, labels = axis.get_legend_handles_labels()
    seen = set()
    for handle, label in zip(handles, labels, strict=True):
        if label in seen:
            handle.set_label("_")
        seen.add(label)


def _policies(result: Backtest, path: Path) -> None:
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    days = result.normal_days or np.nan
    delays = sorted({policy.on_delay_ms for policy, _ in result.swept})
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(delays)))
    for delay, colour in zip(delays, colours, strict=True):
        chosen = [(p, j) for p, j in result.swept if p.on_delay_ms == delay]
        if result.events:
            x = [j.false_alarms / days for _, j in chosen]
            y = [(j.lead_percentile_s(50) or 0.0) / 60 for _, j in chosen]
        else:
            x = [p.setpoint for p, _ in chosen]
            y = [j.false_alarms / days for _, j in chosen]
        axis.plot(x, y, "o-", ms=4, lw=1, color=colour, label=f"on-delay {delay / 1000:g} s")
    own = next(j for p, j in result.swept if p == result.policy)
    own_y = (own.lead_percentile_s(50) or 0.0) / 60 if result.events else own.false_alarms / days
    own_x = own.false_alarms / days if result.events else result.policy.setpoint
    axis.plot([own_x], [own_y], "s", ms=11, mfc="none", color="tab:red", label=_in_force(result))
    if result.events:
        axis.set_xlabel("false alarms per key-day")
        axis.set_ylabel("median lead time, minutes (missed and late: 0)")
        axis.set_title("Alarm policies: the setpoint rises along each line")
    else:
        axis.set_xscale("logit")
        axis.set_xlabel("setpoint")
        axis.set_ylabel("false alarms per key-day")
        axis.set_title("Alarm policies (no events were given)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _in_force(result: Backtest) -> str:
    policy = result.policy
    return f"in force: setpoint {policy.setpoint:g}, on-delay {policy.on_delay_ms / 1000:g} s"
