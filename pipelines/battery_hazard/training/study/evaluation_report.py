"""An evaluation as one self-contained page: bars, tables and plots."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from common.text import in_html, in_plot
from pipelines.battery_hazard.training.evaluation.operator_metrics import EventOutcome
from pipelines.battery_hazard.training.study.evaluate import Judged
from pipelines.battery_hazard.training.study.findings import FULL, NO_GAS

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:13px}
td,th{border-bottom:1px solid #ddd;padding:.3em .7em;text-align:right}
td:first-child,th:first-child{text-align:left}
.met{color:#176b2c;font-weight:600}.missed{color:#a3161a;font-weight:600}
img{max-width:100%}
"""
_EXPLANATION = """<p>Simulated sites that training never saw. Brackets: exact 95 % confidence intervals
(Clopper-Pearson for shares, Poisson for rates). In time: alarmed at least five minutes before the point of no return,
of events whose signs begin that early; of all others, alarmed at the first reading after the first sign, and by the
second. Thresholds: limits on temperature, its rise and gas, tuned on the same validation events for the same
false-alarm budget.</p>"""


def page(title: str, found: dict[str, Any], judged: Sequence[Judged]) -> str:
    """The page."""
    parts = [
        f"<h1>{in_html(title)}</h1>",
        _EXPLANATION,
        "<h2>Bars</h2>",
        _bars(found["bars"]),
        "<h2>Normal operation</h2>",
        _table(_NORMAL_HEAD, _normal_rows(found["normal"])),
        _image(_causes(found), "False alarms by what caused them"),
        "<h2>Lead times</h2>",
        _image(_leads(judged, bench=False), "Lead times of modules"),
        _image(_leads(judged, bench=True), "Lead times of cells on benches"),
        "<h2>By mechanism and sensors</h2>",
        _table(_EVENT_HEAD, _event_rows(found["by_mechanism"])),
        "<h2>By sensors</h2>",
        _image(_shares(found), "Share in time by sensors"),
        _table(_EVENT_HEAD, _event_rows(found["by_sensors"])),
        _table(_NORMAL_HEAD, _normal_rows(found["by_sensors"])),
        "<h2>By site</h2>",
        "<p>Sites with events, then those with false alarms.</p>",
        _table(_EVENT_HEAD, _event_rows({k: v for k, v in found["by_site"].items() if v["model"]["events"]})),
        _table(_NORMAL_HEAD, _normal_rows({k: v for k, v in found["by_site"].items() if v["model"]["false_alarms"]})),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{in_html(title)}</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


_EVENT_HEAD = (
    "",
    "",
    "events",
    "warned of",
    "in time",
    "first reading",
    "second reading",
    "lead median, min",
    "lead p10, min",
)
_NORMAL_HEAD = ("", "", "module-days", "false alarms", "a module-day", "a module-year", "time in alarm")


def _event_rows(groups: dict[str, Any]) -> Iterable[list[str]]:
    for name, by in groups.items():
        for judge, of in by.items():
            if of["events"]:
                yield [
                    name,
                    judge,
                    str(of["events"]),
                    _share(of["events_detected"], of["events"], of["recall_ci"]),
                    _share(of["slow_in_time"], of["slow_events"], of["slow_in_time_ci"]),
                    _share(of["fast_first"], of["fast_events"], of["fast_first_ci"]),
                    _share(of["fast_prompt"], of["fast_events"], of["fast_prompt_ci"]),
                    f"{of['lead_time_median_s'] / 60:.1f}",
                    f"{of['lead_time_p10_s'] / 60:.1f}",
                ]


def _normal_rows(groups: dict[str, Any]) -> Iterable[list[str]]:
    for name, by in groups.items():
        for judge, of in by.items():
            low, high = of["false_alarms_per_module_day_ci"]
            yield [
                name,
                judge,
                f"{of['module_days']:,.0f}",
                str(of["false_alarms"]),
                f"{of['false_alarms_per_module_day']:.5f} [{low:.5f}, {high:.5f}]",
                f"{of['false_alarms_per_module_year']:.2f}",
                f"{of['time_in_alarm_share'] * 100:.4f} %",
            ]


def _share(count: int, of: int, interval: Sequence[float]) -> str:
    return f"{count}/{of} [{interval[0] * 100:.1f}, {interval[1] * 100:.1f} %]" if of else "none"


def _bars(bars: Sequence[dict[str, Any]]) -> str:
    rows = []
    for bar in bars:
        low, high = bar["ci"]
        rate = bar["asked"] < 0.5
        shown = f"{bar['found']:.5f} [{low:.5f}, {high:.5f}]" if rate else f"{bar['found']:.1%} [{low:.1%}, {high:.1%}]"
        asked = f"≤ {bar['asked']:g}" if rate else f"≥ {bar['asked']:.0%}"
        word = "<span class=met>met</span>" if bar["met"] else "<span class=missed>missed</span>"
        rows.append([in_html(bar["bar"]), asked, shown, f"{bar['of']:,.0f}", word])
    return _table(("", "asked", "found", "of", ""), rows, escape=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, escape: bool = True) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f"<{tag}>{in_html(v) if escape else v}</{tag}>" for v in values)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', head)}</tr>{body}</table>"


def _image(figure: Any, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return f'<img alt="{in_html(text)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _leads(judged: Sequence[Judged], *, bench: bool) -> Any:
    """Share of events with at least so much warning, by mechanism; solid: model, dashed: threshold baseline."""
    ways = ("temperature, voltage, current", "temperature, voltage") if bench else (FULL, NO_GAS)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for axis, sensors in zip(axes, ways, strict=True):
        for line, which in (("-", "model"), ("--", "baseline")):
            events = [
                v.event
                for one in judged
                for v in getattr(one, which)
                if v.event and v.about.bench == bench and v.about.sensors == sensors
            ]
            for color, mechanism in enumerate(sorted({e.mechanism for e in events})):
                _survival(axis, [e for e in events if e.mechanism == mechanism], line, f"C{color}", mechanism)
        axis.axvline(5, color="black", linewidth=0.8)
        axis.set(xlabel="warning at least, minutes", title=in_plot(sensors), xscale="symlog", xlim=(0, None))
    axes[0].set_ylabel("share of events")
    axes[0].legend(loc="lower left", fontsize=7, title="solid: model, dashed: thresholds", title_fontsize=7)
    return figure


def _survival(axis: Any, events: Sequence[EventOutcome], line: str, color: str, mechanism: str) -> None:
    lead = np.sort([max(e.lead_s or 0.0, 0.0) / 60 for e in events])
    label = in_plot(mechanism) if line == "-" else None
    axis.step(lead, 1 - np.arange(len(lead)) / len(lead), line, where="post", color=color, label=label)


def _shares(found: dict[str, Any]) -> Any:
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    groups = {k: v for k, v in found["by_sensors"].items() if v["model"]["slow_events"]}
    for place, (name, shift) in enumerate((("model", 0.2), ("thresholds", -0.2))):
        share = np.array([by[name]["slow_in_time_share"] for by in groups.values()])
        interval = np.array([by[name]["slow_in_time_ci"] for by in groups.values()]).reshape(-1, 2)
        error = np.abs(np.stack([share - interval[:, 0], interval[:, 1] - share]))
        axis.barh(np.arange(len(groups)) + shift, share, 0.38, xerr=error, color=f"C{place}", label=name)
    axis.set_yticks(range(len(groups)), [in_plot(name) for name in groups])
    axis.set(xlabel="share of slow events alarmed five minutes ahead", xlim=(0, 1.02))
    axis.legend()
    return figure


def _causes(found: dict[str, Any]) -> Any:
    causes = {name: found["normal"]["modules"][name]["false_alarms_by_cause"] for name in ("model", "thresholds")}
    kinds = sorted({kind for counts in causes.values() for kind in counts})
    figure, axis = plt.subplots(figsize=(9, 1.5 + 0.3 * len(kinds)), layout="constrained")
    for place, (name, counts) in enumerate(causes.items()):
        axis.barh(np.arange(len(kinds)) + 0.2 - 0.4 * place, [counts.get(k, 0) for k in kinds], 0.38, label=name)
    axis.set_yticks(range(len(kinds)), [in_plot(kind) for kind in kinds])
    axis.set_xlabel("false alarms in normal operation of modules")
    axis.legend()
    return figure
