"""Measures how many faults could be alarmed in time at best, for the events of `hazardstream evaluate` with its seed.

Example:
    python -m pipelines.battery_hazard.training.study.limit --events 540 --seed 113
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer

from common.arrays import Float, Int
from common.json_text import strict_json
from common.terminal import say
from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.events.ground_truth import Fault
from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from pipelines.battery_hazard.simulator.plant.sensing import IN_RACKS
from pipelines.battery_hazard.training.cli import Seed, watched
from pipelines.battery_hazard.training.datasets.features import SITES
from pipelines.battery_hazard.training.datasets.labels import first_sign
from pipelines.battery_hazard.training.datasets.series import SimulatedSite, fleet_of
from pipelines.battery_hazard.training.evaluation.known_fault import (
    SPANS,
    NormalOperation,
    found_in_noise,
    signal_of,
    windows,
)
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET
from pipelines.battery_hazard.training.study.evaluate import evaluation_sites
from pipelines.battery_hazard.training.study.findings import FULL, NO_CELLS, NO_GAS
from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S

MECHANISMS = ("internal_short", "propagation")
"""Those with bars that are missed."""
_EACH_MS = MINUTE_MS
_WINDOW = sum(SPANS)


@dataclass(frozen=True)
class Chance:
    """The last moment at which a fault can be alarmed in time, with one set of sensors.

    Attributes:
        mechanism, sensors: of the fault, and how its module is equipped.
        slow: whether it must be alarmed five minutes ahead; otherwise at the first reading that shows it.
        level: probability of a false alarm from the fault's onset to then that the budget allows.
        signal: what the fault adds to each reading from its onset (an hour before at least) to then, [n, 13].
    """

    mechanism: str
    sensors: str
    slow: bool
    level: float
    signal: Float


def chances(fleet: Fleet, hours: float) -> Iterator[Chance]:
    """Each fault in these hours of a fleet, with each set of sensors; of the fast ones, only with complete sensors."""
    start_ms, period_ms = fleet.next_ms, fleet.period_ms
    event_of = {(one.module, one.onset_ms): one for one in fleet.events}
    for fault in fleet.faults:
        # A fire that spreads may reach a module only after the end (as in `operator_metrics.evaluate_alarms`).
        if fault.mechanism in MECHANISMS and fault.no_return_ts - MINUTE_MS <= start_ms + hours * HOUR_MS - period_ms:
            event = event_of[fault.module, fault.onset_ts]
            for sensors in (FULL, NO_CELLS, NO_GAS):
                sign = first_sign(fault, gas=sensors != NO_GAS, cells=sensors != NO_CELLS)
                slow = fault.no_return_ts - sign >= REQUIRED_WARNING_S * 1000
                if slow or sensors == FULL:
                    by_ms = _last_reading(fault, sign, slow, start_ms, period_ms)
                    yield _chance(fault, event, sensors, slow, by_ms, period_ms)


def _last_reading(fault: Fault, sign: int, slow: bool, start_ms: int, period_ms: int) -> int:
    """When the last reading in time is made: five minutes ahead, or the first one that shows the fault."""
    if slow:
        return start_ms + (fault.no_return_ts - int(REQUIRED_WARNING_S * 1000) - start_ms) // period_ms * period_ms
    return start_ms - (start_ms - sign) // period_ms * period_ms


def _chance(fault: Fault, event: Event, sensors: str, slow: bool, by_ms: int, period_ms: int) -> Chance:
    readings = max(_WINDOW, (by_ms - fault.onset_ts) // period_ms + 1)
    ts = by_ms - np.arange(readings - 1, -1, -1) * period_ms
    level = FALSE_ALARM_BUDGET * max(by_ms - fault.onset_ts, period_ms) / DAY_MS
    return Chance(fault.mechanism, sensors, slow, level, signal_of(event, ts))


def normal_windows(site: SimulatedSite) -> Float:
    """Windows of all sensors in normal operation, each minute of each module of a site, [m, d] float32."""
    fleet = fleet_of(site)
    steps = round(site.hours * HOUR_MS) // site.period_ms
    values = fleet.block(steps)[1]
    last = np.arange(_WINDOW - 1, steps, _EACH_MS // site.period_ms)
    return np.concatenate([windows(values[:, m], last).astype(np.float32) for m in range(site.modules)])


def columns_of(sensors: str) -> Int:
    """Columns of the sensors that modules with this set have."""
    return np.array([i for i, name in enumerate(SENSORS) if name not in SITES[sensors][1]])


def limits(found: Iterable[Chance], normal: NormalOperation) -> list[dict[str, Any]]:
    """How many faults each detector is expected to find, by mechanism, sensors, and whether they are slow."""
    groups: dict[tuple[str, str, bool], list[Chance]] = {}
    for one in found:
        groups.setdefault((one.mechanism, one.sensors, one.slow), []).append(one)
    rows = []
    for (mechanism, sensors, slow), group in sorted(groups.items()):
        columns = columns_of(sensors)
        noise = [found_in_noise(one.signal[:, columns], IN_RACKS.noise[columns], one.level) for one in group]
        at_end = np.array([_WINDOW - 1])
        signals = np.concatenate([windows(one.signal[-_WINDOW:, columns], at_end) for one in group])
        spanned = (columns[:, None] * len(SPANS) + np.arange(len(SPANS))).ravel()
        operated = normal.of(spanned).found(signals, np.array([one.level for one in group]))
        rows.append(
            {
                "mechanism": mechanism,
                "sensors": sensors,
                "asked": "five minutes ahead" if slow else "at the first reading",
                "events": len(group),
                "normal_operation_known": round(sum(noise), 2),
                "normal_operation_unknown": round(float(operated.sum()), 2),
                "below_one_half": int((operated < 0.5).sum()),
            }
        )
    return rows


def main(
    *,
    events: Annotated[int, typer.Option(min=1, help="Number of modules that fail by themselves.")] = 540,
    module_days: Annotated[int, typer.Option(min=160, help="Module-days of normal operation.")] = 960,
    seed: Seed = 113,
) -> None:
    """Print how many faults could be alarmed in time at best, as one JSON array. It takes one core."""
    sites = evaluation_sites(events=events, bench_events=0, module_days=module_days, bench_days=0, seed=seed)
    found: list[Chance] = []
    normal: list[Float] = []
    with watched(quiet=False) as show:
        for done, site in enumerate(sites, 1):
            if site.faults:
                found += chances(fleet_of(site), site.hours)
            else:
                normal.append(normal_windows(site))
            show("simulating sites", done, len(sites))
    half = len(normal) // 2
    known = NormalOperation(np.concatenate(normal[:half]), np.concatenate(normal[half:]))
    say(strict_json(limits(found, known)))


if __name__ == "__main__":
    typer.run(main)
