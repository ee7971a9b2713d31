"""The evaluation report: one self-contained page with bars, tables and plots."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipelines.battery_hazard.training.study.evaluate import ANY, SiteResult
from pipelines.battery_hazard.training.study.plots import false_alarm_causes, lead_times, shares_in_time
from training.reports.render import render

_TEMPLATE = Path(__file__).with_name("evaluation_report.html.j2")


def page(title: str, found: dict[str, Any], results: Sequence[SiteResult]) -> str:
    """The report as HTML.

    Args:
        title: of the page.
        found: the figures, as `findings` returns them.
        results: of each site.
    """
    by_sensors, by_site = found["by_sensors"], found["by_site"]
    return render(
        _TEMPLATE,
        title=title,
        bars=[_bar(bar) for bar in found["bars"]],
        normal=_normal_rows(found["normal"]),
        by_mechanism=_event_rows(found["by_mechanism"]),
        events_by_sensors=_event_rows(by_sensors),
        normal_by_sensors=_normal_rows(by_sensors),
        events_by_site=_event_rows({k: v for k, v in by_site.items() if v[ANY]["events"]}),
        normal_by_site=_normal_rows({k: v for k, v in by_site.items() if v[ANY]["false_alarms"]}),
        plots={
            "causes": _embedded(false_alarm_causes(found), "False alarms by cause"),
            "modules": _embedded(lead_times(results, bench=False), "Lead times of modules"),
            "bench": _embedded(lead_times(results, bench=True), "Lead times of cells on benches"),
            "shares": _embedded(shares_in_time(found), "Share in time by sensors"),
        },
    )


def _embedded(figure: Figure, text: str) -> dict[str, str]:
    """A figure as a PNG in base64, with its alternative text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return {"text": text, "data": base64.b64encode(buffer.getvalue()).decode()}


def _bar(bar: dict[str, Any]) -> dict[str, Any]:
    required, found = bar_texts(bar)
    return {"name": bar["bar"], "required": required, "found": found, "verdict": bar["verdict"]}


def bar_texts(bar: dict[str, Any]) -> tuple[str, str]:
    """What a bar requires, and what was found: the count, of how many, and the rate with its interval."""
    low, high = bar["ci"]
    if bar["asked"] < 0.5:
        rate = f"{bar['found'] * 1000:.2f} [{low * 1000:.2f}, {high * 1000:.2f}] in 1,000"
        return f"≤ {bar['asked'] * 1000:g} in 1,000 module-days", f"{bar['count']} in {bar['of']:,.0f}: {rate}"
    return f"≥ {bar['asked']:.0%}", f"{bar['count']} of {bar['of']}: {bar['found']:.1%} [{low:.1%}, {high:.1%}]"


def _event_rows(groups: dict[str, Any]) -> list[list[str]]:
    return [
        [
            group,
            which,
            str(of["events"]),
            _share(of["events_detected"], of["events"], of["recall_ci"]),
            _share(of["slow_in_time"], of["slow_events"], of["slow_in_time_ci"]),
            _share(of["fast_first"], of["fast_events"], of["fast_first_ci"]),
            _share(of["fast_prompt"], of["fast_events"], of["fast_prompt_ci"]),
            f"{of['lead_time_median_s'] / 60:.1f}",
            f"{of['lead_time_p10_s'] / 60:.1f}",
        ]
        for group, by in groups.items()
        for which, of in by.items()
        if of["events"]
    ]


def _normal_rows(groups: dict[str, Any]) -> list[list[str]]:
    rows = []
    for group, by in groups.items():
        for which, of in by.items():
            low, high = of["false_alarms_per_module_day_ci"]
            rows.append(
                [
                    group,
                    which,
                    f"{of['module_days']:,.0f}",
                    str(of["false_alarms"]),
                    f"{of['false_alarms_per_module_day']:.5f} [{low:.5f}, {high:.5f}]",
                    f"{of['false_alarms_per_module_year']:.2f}",
                    f"{of['time_in_alarm_share'] * 100:.4f} %",
                ]
            )
    return rows


def _share(count: int, of: int, interval: Sequence[float]) -> str:
    return f"{count}/{of} [{interval[0] * 100:.1f}, {interval[1] * 100:.1f} %]" if of else "none"
