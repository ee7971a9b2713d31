"""Figures of an evaluation by mechanism, by sensors and by site, and whether the bars are met."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from pipelines.battery_hazard.training.datasets.features import HELD_OUT
from pipelines.battery_hazard.training.evaluation.operator_metrics import (
    FALSE_ALARM_BUDGET,
    KINDS,
    EventOutcome,
    SeriesResult,
    events_summary,
    summary,
)
from pipelines.battery_hazard.training.study.evaluate import SiteResult

FULL, NO_GAS = "complete", "no gas"
_BARS = {FULL: 0.99, NO_GAS: 0.95}
_PROMPT_BAR = 0.95


def findings(evaluated: Sequence[SiteResult]) -> dict[str, Any]:
    """All figures of the model and the threshold baseline, as JSON values."""
    model = [v for one in evaluated for v in one.model]
    baseline = [v for one in evaluated for v in one.baseline]
    sites = {one.site.seed: one.site for one in evaluated}

    def both(chosen: Callable[[SeriesResult], bool]) -> dict[str, Any]:
        return {
            "model": summary(filter(chosen, model)),
            "thresholds": summary(filter(chosen, baseline)),
        }

    def chosen_by(
        bench: bool, sensors: str | None = None, faults: bool | None = None
    ) -> Callable[[SeriesResult], bool]:
        return lambda v: (
            v.about.bench == bench
            and (sensors is None or v.about.sensors == sensors)
            and (faults is None or faults == (sites[v.about.site].faults > 0))
        )

    def at(seed: int) -> Callable[[SeriesResult], bool]:
        return lambda v: v.about.site == seed

    ways = {(v.about.bench, v.about.sensors) for v in model}
    found: dict[str, Any] = {
        # Sites with faults have little normal operation, and no representative sample of it: they are left out here.
        "normal": {kind: both(chosen_by(bench, faults=False)) for kind, bench in KINDS.items()},
        "events": {kind: both(chosen_by(bench, faults=True)) for kind, bench in KINDS.items()},
        "by_mechanism": {},
        "by_sensors": {
            f"{_name(bench)} | {sensors}": both(chosen_by(bench, sensors)) for bench, sensors in sorted(ways)
        },
        "by_site": {str(seed): both(at(seed)) for seed in sorted(sites)},
    }
    mechanisms = sorted({v.event.mechanism for v in model if v.event})
    for (bench, sensors), mechanism in product(sorted(ways), mechanisms):
        matching = {
            name: events_summary(_events(verdicts, bench, sensors, mechanism))
            for name, verdicts in (("model", model), ("thresholds", baseline))
        }
        if matching["model"]["events"]:
            found["by_mechanism"][f"{_name(bench)} | {sensors} | {mechanism}"] = matching
    found["bars"] = bars(found)
    return found


def _name(bench: bool) -> str:
    return next(kind for kind, value in KINDS.items() if value == bench)


def _events(verdicts: Sequence[SeriesResult], bench: bool, sensors: str, mechanism: str) -> list[EventOutcome]:
    return [
        v.event
        for v in verdicts
        if v.event and (v.about.bench, v.about.sensors, v.event.mechanism) == (bench, sensors, mechanism)
    ]


def bars(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each bar: required value, measured value, and whether the bar is met."""
    made = []
    for key, of in found["by_mechanism"].items():
        kind, sensors, mechanism = key.split(" | ")
        mine = of["model"]
        if kind != "modules" or sensors not in _BARS:
            continue
        name = f"{mechanism}{' (never trained on)' if mechanism == HELD_OUT else ''}, {sensors}"
        if mine["slow_events"]:
            made.append(_bar(f"{name}: alarmed 5 minutes ahead", mine, "slow_in_time", "slow_events", _BARS[sensors]))
        if mine["fast_events"]:
            made.append(_bar(f"{name}: first possible reading", mine, "fast_first", "fast_events", _PROMPT_BAR))
    quiet = found["normal"]["modules"]["model"]
    made.append(
        {
            "bar": "false alarms per module-day, modules",
            "asked": FALSE_ALARM_BUDGET,
            "found": quiet["false_alarms_per_module_day"],
            "ci": quiet["false_alarms_per_module_day_ci"],
            "of": quiet["module_days"],
            "met": quiet["false_alarms_per_module_day"] <= FALSE_ALARM_BUDGET,
        }
    )
    return made


def _bar(name: str, of: dict[str, Any], count: str, total: str, asked: float) -> dict[str, Any]:
    share = of[f"{count}_share"]
    return {
        "bar": name,
        "asked": asked,
        "found": share,
        "ci": of[f"{count}_ci"],
        "of": of[total],
        "met": share >= asked,
    }
