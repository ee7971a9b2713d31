"""Measures how many faults could be alarmed in time at best, for the events of `hazardstream evaluate` with its seed.

Example:
    python -m pipelines.battery_hazard.training.study.limit --events 540 --seed 113
"""

from collections.abc import Iterable, Iterator, Sequence
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
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.datasets.features import SITES
from pipelines.battery_hazard.training.datasets.labels import first_sign
from pipelines.battery_hazard.training.datasets.series import SimulatedSite, fleet_of
from pipelines.battery_hazard.training.evaluation.known_fault import (
    SPANS,
    WINDOW,
    Bank,
    found_in_noise,
    signal_of,
    windows,
)
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET
from pipelines.battery_hazard.training.fitting.policy import OFF_DELAY_MS
from pipelines.battery_hazard.training.study.evaluate import evaluation_sites
from pipelines.battery_hazard.training.study.findings import FULL, NO_CELLS, NO_GAS
from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S

MECHANISMS = ("internal_short", "propagation")
"""Those with bars that are missed."""
_EACH_MS = MINUTE_MS
"""The bank judges once a minute."""
_LATE = 5
"""In the worst case, it did so this many readings before the last one in time."""
_LEARN_EACH = 4
_SAMPLE = 1000
"""Of each 1000 windows of normal operation, one has faults added."""


@dataclass(frozen=True)
class Chance:
    """The last moment at which a fault can be alarmed in time, with one set of sensors.

    Attributes:
        mechanism, sensors: of the fault, and how its module is equipped.
        slow: whether it must be alarmed five minutes ahead; otherwise at the first reading that shows it.
        level: probability of a false alarm from the fault's onset to then that the budget allows.
        signal: what the fault adds to each reading up to then, [n, 13]: all from its onset, and enough for a window.
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
    readings = max(WINDOW + _LATE, (by_ms - fault.onset_ts) // period_ms + 1)
    ts = by_ms - np.arange(readings - 1, -1, -1) * period_ms
    level = FALSE_ALARM_BUDGET * max(by_ms - fault.onset_ts, period_ms) / DAY_MS
    return Chance(fault.mechanism, sensors, slow, level, signal_of(event, ts))


def normal_windows(site: SimulatedSite) -> Float:
    """Windows of all sensors in normal operation, each minute of each module of a site, [modules, m, d] float32."""
    fleet = fleet_of(site)
    steps = round(site.hours * HOUR_MS) // site.period_ms
    values = fleet.block(steps)[1]
    last = np.arange(WINDOW - 1, steps, _EACH_MS // site.period_ms)
    return np.stack([windows(values[:, m], last).astype(np.float32) for m in range(site.modules)])


def columns_of(sensors: str) -> Int:
    """Columns of the sensors that modules with this set have."""
    return np.array([i for i, name in enumerate(SENSORS) if name not in SITES[sensors][1]])


def spanned(columns: Int) -> Int:
    """Columns of windows that are of these sensors."""
    return np.asarray((columns[:, None] * len(SPANS) + np.arange(len(SPANS))).ravel())


class Search:
    """Looks for each fault of one kind, with one set of sensors, by the example of the others."""

    def __init__(self, faults: Sequence[Chance], normal: Float) -> None:
        """Learn a bank from the faults and from windows of normal operation of all sensors, [modules, m, d]."""
        sensors = columns_of(faults[0].sensors)
        self._columns = spanned(sensors)
        seen = [one.signal[-WINDOW - _LATE : -_LATE, sensors] for one in faults]
        examples = np.concatenate([windows(signal, np.array([WINDOW - 1])) for signal in seen])
        self._bank = Bank.learnt(examples, self._of(normal).reshape(-1, len(self._columns)))
        self._false_alarms, self._days = 0, 0.0
        self._found: list[Float] = []

    def raise_limits(self, normal: Float) -> None:
        """Let the bank raise no alarm in this normal operation either."""
        self._bank = self._bank.raised(self._of(normal).reshape(-1, len(self._columns)))

    def measure(self, normal: Float) -> None:
        """Count false alarms in normal operation, and add the faults to a sample of it."""
        mine = self._of(normal)
        for module in mine:
            at = np.flatnonzero(self._bank.alarms(module))
            self._false_alarms += len(at[:1]) + int((np.diff(at) * _EACH_MS > OFF_DELAY_MS).sum())
            self._days += len(module) * _EACH_MS / DAY_MS
        self._found.append(self._bank.found(mine.reshape(-1, mine.shape[-1])[::_SAMPLE]))

    def _of(self, normal: Float) -> Float:
        return normal[..., self._columns]

    def result(self) -> dict[str, Any]:
        """Expected number of faults that the others find, and false alarms."""
        return {
            "by_bank": round(float(np.mean(self._found, axis=0).sum()), 2),
            "bank_false_alarms": self._false_alarms,
            "bank_module_days": round(self._days, 1),
        }


def grouped(found: Iterable[Chance]) -> list[list[Chance]]:
    """The chances by mechanism, sensors, and whether they are slow."""
    groups: dict[tuple[str, str, bool], list[Chance]] = {}
    for one in found:
        groups.setdefault((one.mechanism, one.sensors, one.slow), []).append(one)
    return [groups[key] for key in sorted(groups)]


def at_most(faults: Sequence[Chance]) -> float:
    """Expected number that is found by who knows all but the noise: no detector finds more."""
    sensors = columns_of(faults[0].sensors)
    noise = IN_RACKS.noise[sensors]
    return sum(found_in_noise(one.signal[:, sensors], noise, one.level) for one in faults)


def limits(found: Iterable[Chance], normal: Sequence[SimulatedSite], progress: Progress) -> list[dict[str, Any]]:
    """What can be found of these faults.

    Args:
        found: the faults.
        normal: sites without faults. Banks learn the covariance from a third of them, a third raises their limits, and
            they are measured on the last third.
        progress: called for each of these sites.
    """
    groups = grouped(found)
    third = len(normal) // 3
    learnt = np.concatenate([normal_windows(site)[:, ::_LEARN_EACH] for site in normal[:third]])
    searches = {i: Search(group, learnt) for i, group in enumerate(groups) if group[0].slow}
    for done, site in enumerate(normal[third:], third + 1):
        values = normal_windows(site)
        for search in searches.values():
            (search.raise_limits if done <= 2 * third else search.measure)(values)
        progress("simulating normal operation", done, len(normal))
    return [
        {
            "mechanism": group[0].mechanism,
            "sensors": group[0].sensors,
            "asked": "five minutes ahead" if group[0].slow else "at the first reading",
            "events": len(group),
            "at_most": round(at_most(group), 2),
            **(searches[i].result() if i in searches else {}),
        }
        for i, group in enumerate(groups)
    ]


def main(
    *,
    events: Annotated[int, typer.Option(min=1, help="Number of modules that fail by themselves.")] = 540,
    module_days: Annotated[int, typer.Option(min=240, help="Module-days of normal operation.")] = 2400,
    seed: Seed = 113,
) -> None:
    """Print how many faults could be alarmed in time at best, as one JSON array. It takes one core."""
    sites = evaluation_sites(events=events, bench_events=0, module_days=module_days, bench_days=0, seed=seed)
    faulty = [site for site in sites if site.faults]
    found: list[Chance] = []
    with watched(quiet=False) as show:
        for done, site in enumerate(faulty, 1):
            found += chances(fleet_of(site), site.hours)
            show("simulating faults", done, len(faulty))
        rows = limits(found, [site for site in sites if not site.faults], show)
    say(strict_json(rows))


if __name__ == "__main__":
    typer.run(main)
