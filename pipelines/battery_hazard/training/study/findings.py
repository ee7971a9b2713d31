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
from pipelines.battery_hazard.training.study.evaluate import ANY, CRITICAL, LIMITS, SiteResult

FULL, NO_CELLS, NO_GAS = "complete", "no cells", "no gas"
"""Sets of sensors that have bars: with voltages and temperatures of cells, without, and without gas."""
_IN_TIME = {FULL: 0.99, NO_CELLS: 0.99, NO_GAS: 0.95}
_IN_TIME_OF = {
    ("internal_short", NO_CELLS): 0.97,
    ("propagation", NO_GAS): 0.90,
}
"""Share of slow events that must be alarmed five minutes ahead, by sensors, and where a mechanism has its own bar."""
_PROMPT = {
    "hard_short": ("fast_prompt", 0.80),
    "propagation": ("fast_first", 0.95),
    "internal_short": ("fast_first", 0.95),
}
"""Share of fast events that must be alarmed by the second or at the first reading, with complete sensors."""
_READING = {"fast_first": "at the first reading", "fast_prompt": "by the second reading"}


def findings(evaluated: Sequence[SiteResult]) -> dict[str, Any]:
    """All figures of the pipeline's alarms and of the tuned limits, as JSON values."""
    results = {name: [v for one in evaluated for v in one.of[name]] for name in (ANY, CRITICAL, LIMITS)}
    sites = {one.site.seed: one.site for one in evaluated}

    def each(chosen: Callable[[SeriesResult], bool]) -> dict[str, Any]:
        return {name: summary(filter(chosen, verdicts)) for name, verdicts in results.items()}

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

    ways = {(v.about.bench, v.about.sensors) for v in results[ANY]}
    found: dict[str, Any] = {
        # Sites with faults have little normal operation, and no representative sample of it: they are left out here.
        "normal": {kind: each(chosen_by(bench, faults=False)) for kind, bench in KINDS.items()},
        "events": {kind: each(chosen_by(bench, faults=True)) for kind, bench in KINDS.items()},
        "by_mechanism": {},
        "by_sensors": {
            f"{_name(bench)} | {sensors}": each(chosen_by(bench, sensors)) for bench, sensors in sorted(ways)
        },
        "by_site": {str(seed): each(at(seed)) for seed in sorted(sites)},
    }
    mechanisms = sorted({v.event.mechanism for v in results[ANY] if v.event})
    for (bench, sensors), mechanism in product(sorted(ways), mechanisms):
        matching = {
            name: events_summary(_events(verdicts, bench, sensors, mechanism)) for name, verdicts in results.items()
        }
        if matching[ANY]["events"]:
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
    """Each bar: required value, what was counted, of how many, the rate with its interval, and whether it is met."""
    made = []
    for key, of in found["by_mechanism"].items():
        kind, sensors, mechanism = key.split(" | ")
        mine = of[ANY]
        if kind != "modules":
            continue
        name = f"{mechanism}{' (never trained on)' if mechanism == HELD_OUT else ''}, {sensors}"
        if sensors in _IN_TIME and mine["slow_events"]:
            asked = _IN_TIME_OF.get((mechanism, sensors), _IN_TIME[sensors])
            made.append(_bar(f"{name}: alarmed 5 minutes ahead", mine, "slow_in_time", "slow_events", asked))
        if sensors == FULL and mechanism in _PROMPT and mine["fast_events"]:
            count, asked = _PROMPT[mechanism]
            made.append(_bar(f"{name}: alarmed {_READING[count]}", mine, count, "fast_events", asked))
    quiet = found["normal"]["modules"][ANY]
    rate, interval = quiet["false_alarms_per_module_day"], quiet["false_alarms_per_module_day_ci"]
    made.append(
        {
            "bar": "false alarms, modules",
            "asked": FALSE_ALARM_BUDGET,
            "count": quiet["false_alarms"],
            "of": quiet["module_days"],
            "found": rate,
            "ci": interval,
            "verdict": verdict(-interval[1], -interval[0], -FALSE_ALARM_BUDGET),
        }
    )
    return made


def _bar(name: str, of: dict[str, Any], count: str, total: str, asked: float) -> dict[str, Any]:
    interval = of[f"{count}_ci"]
    return {
        "bar": name,
        "asked": asked,
        "count": of[count],
        "of": of[total],
        "found": of[f"{count}_share"],
        "ci": interval,
        "verdict": verdict(interval[0], interval[1], asked),
    }


def verdict(low: float, high: float, asked: float) -> str:
    """Whether a bar is met by a value of which only an interval is known; `undecided` if the interval covers it."""
    return "met" if low >= asked else "missed" if high < asked else "undecided"
