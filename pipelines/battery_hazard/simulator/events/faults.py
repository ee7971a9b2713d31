"""Faults of a fleet: draws when and where they happen, runs the physics, and computes what the sensors show."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.times import HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.events.event import AFTER_S, GRID_MS, Event, event
from pipelines.battery_hazard.simulator.events.ground_truth import HEATED, MECHANISMS, SPREADING, SUDDEN
from pipelines.battery_hazard.simulator.events.mechanisms import (
    Background,
    Build,
    Causes,
    Int,
    background,
    draw_causes,
    make_trials,
)
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.course import GRID_S
from pipelines.battery_hazard.simulator.physics.module_model import solve
from pipelines.battery_hazard.simulator.plant.normal import CHARGED_MS, Override, Traits, charged_before
from pipelines.battery_hazard.simulator.plant.site import Site

LEAD_MS = 8 * HOUR_MS
"""The simulation starts this long before the first reading, because a fault may take that long to develop."""
_SLOWEST_H = 4.5
_TRIES = 10
_EMPTY_SHARE = 0.2
"""Share of empty cells among those that are heated."""
_MODULES_BESIDE = 1
_BENCH_MECHANISMS = ("internal_short", "hard_short", "sudden_short", "overcharge", "external_heating")


class NeverRunsAwayError(Exception):
    """A drawn fault does not end in a fire: the module is too cool or its charge too low."""


@dataclass(frozen=True)
class World:
    """The site and modules in which events happen.

    Attributes:
        site: racks, from `LEAD_MS` before the first reading on.
        traits: of the modules.
        build: of the modules.
        first_ms, until_ms: time range of events.
        noise: standard deviation of the sensors' noise: temperature, voltage, gas.
    """

    site: Site
    traits: Traits
    build: Build
    first_ms: int
    until_ms: int
    noise: tuple[float, float, float]

    def background(self, modules: Int, overrides: list[Override]) -> Background:
        """Normal operation of some modules; overrides name them by their row in `modules`."""
        return background(self.site, self.traits.of(modules), self.build.cell, overrides, self.first_ms, self.until_ms)


def allowed(mechanisms: tuple[str, ...], build: Build) -> list[str]:
    """Mechanisms that can start a fire here. If only `propagation` is given, internal shorts start the fires."""
    unknown = set(mechanisms) - set(MECHANISMS)
    begins = [m for m in mechanisms if m != SPREADING and (not build.bench or m in _BENCH_MECHANISMS)]
    if build.cell.chemistry != "nmc":
        begins = [m for m in begins if m == SUDDEN and build.bench]
    if unknown or not (begins or mechanisms == (SPREADING,)):
        raise ValueError(f"mechanisms={mechanisms}: choose from {MECHANISMS} (single cells: {_BENCH_MECHANISMS})")
    return begins or ["internal_short"]


def run_faults(
    world: World, modules: Int, mechanism: list[str], target_ms: Int, rng: np.random.Generator
) -> tuple[list[Event], list[Override]]:
    """Let each of `modules` run away by its mechanism at about `target_ms`.

    A first run holds the module's state at `target_ms` constant and gives the time that the mechanism takes. The onset
    is that much earlier. A second run computes the course with the module's actual load and surroundings.

    Raises:
        NeverRunsAwayError: a module does not run away at the highest strength that is tried.
    """
    if not len(modules):
        return [], []
    causes = draw_causes(modules, mechanism, world.build, rng)
    usual = world.background(modules, [])
    minute = ((target_ms - world.first_ms) // MINUTE_MS).astype(np.int64)
    held = [values[:, :1] for values in usual.rows(minute, 1)]
    soc = held[3][:, 0]
    # A cell is charged before a destructive test, and so is a module whose charge is too low to burn.
    emptied = (soc < 30) | world.build.bench
    charged = rng.uniform(60, 98, len(modules))
    heated_empty = np.array([m == HEATED for m in mechanism]) & (rng.random(len(modules)) < _EMPTY_SHARE)
    charged = np.where(heated_empty, rng.uniform(2, 10, len(modules)), charged)
    held[3] = np.where(emptied, charged, soc)[:, None]
    traits = world.traits.of(modules)
    held[1], held[2] = _worked(causes, world, traits, held[0], held[1], held[2])
    seconds = _time_to_no_return(causes, world, traits, held)
    onset = target_ms - (np.minimum(seconds, _SLOWEST_H * 3600) * 1000).astype(np.int64)
    onset = np.maximum(onset // MINUTE_MS * MINUTE_MS, world.first_ms + 2 * HOUR_MS)
    return _course(causes, world, onset, usual, held[3][:, 0], emptied, seconds)


def _worked(causes: Causes, world: World, traits: Traits, air: Float, usual: Float, load: Float) -> tuple[Float, Float]:
    """Temperature and heat: computed for modules under hard load, unchanged for the others."""
    hard = (causes.cycled | np.array([m == "overcharge" for m in causes.mechanism]))[:, None]
    current = (causes.c_rate * causes.strength)[:, None] * world.build.cell.capacity_ah
    heat = world.build.cell.resistance_ohm * (traits.resistance[:, None] * current**2)
    warm = air + heat * (traits.thermal_tau_s / world.build.cell.heat_capacity_j_k)[:, None]
    return np.where(hard, warm, usual), np.where(hard, heat, load)


def _time_to_no_return(causes: Causes, world: World, traits: Traits, held: list[Float]) -> Float:
    """Seconds from onset to the point of no return. Raises each fault's strength until it runs away."""
    seconds = np.full(len(causes.module), np.inf)
    for _ in range(_TRIES):
        rows = np.flatnonzero(np.isinf(seconds))
        if not rows.size:
            break
        tables = [values[rows] for values in held]
        tables[1], tables[2] = _worked(causes.only(rows), world, traits.of(rows), *tables[:3])
        trials = make_trials(causes.only(rows), world.build, traits.of(rows), tables)
        seconds[rows] = solve(trials, hours=_SLOWEST_H, after_s=0).no_return_s
        causes.strength[np.flatnonzero(np.isinf(seconds))] *= 1.5
    return seconds


def _course(
    causes: Causes, world: World, onset: Int, usual: Background, soc: Float, emptied: NDArray[np.bool_], seconds: Float
) -> tuple[list[Event], list[Override]]:
    n = len(onset)
    events: list[Event | None] = [None] * n
    kept: list[Override] = []
    pending = np.arange(n)
    for _ in range(_TRIES):
        driven = [
            _override(causes, row, int(onset[row]), usual, float(soc[row]), bool(emptied[row]), float(seconds[row]))
            for row in pending.tolist()
        ]
        overrides = [replace(one, module=i) for i, one in enumerate(driven) if one is not None]
        lived = world.background(causes.module[pending], overrides)
        tables = lived.rows((onset[pending] - world.first_ms) // MINUTE_MS, round((_SLOWEST_H + 1.6) * 60))
        trials = make_trials(causes.only(pending), world.build, world.traits.of(causes.module[pending]), tables)
        courses = solve(trials, hours=_SLOWEST_H + 1.5, after_s=AFTER_S)
        for i, row in enumerate(pending.tolist()):
            if np.isfinite(courses.no_return_s[i]):
                events[row] = event(courses, i, causes, row, int(onset[row]), tables[1][i], world.build.parallel)
        for one in overrides:
            row = int(pending[one.module])
            if (made := events[row]) is not None and made.no_return_ms is not None:
                end = one.end_ms if one.end_ms < made.onset_ms else made.no_return_ms + 30_000
                kept.append(replace(one, module=int(causes.module[row]), end_ms=end))
        pending = np.array([row for row in pending.tolist() if events[row] is None], np.int64)
        if not pending.size:
            break
        causes.strength[pending] *= 1.25
    if pending.size:
        raise NeverRunsAwayError
    return [made for made in events if made is not None], kept


def _override(
    causes: Causes, row: int, onset: int, usual: Background, soc: float, emptied: bool, seconds: float
) -> Override | None:
    """How the module is charged apart from its rack before and during its fault; None if it follows the rack."""

    def at(ts_ms: int) -> float:
        return float(usual.soc_percent[row, max(0, (ts_ms - usual.first_ms) // MINUTE_MS)])

    mechanism, rate = causes.mechanism[row], float(causes.c_rate[row] * causes.strength[row])
    end = int(onset + 1.5 * min(seconds, _SLOWEST_H * 3600) * 1000)
    if mechanism == "overcharge":
        # The charger should have stopped at 100 %; the fault begins there.
        start = onset
        for _ in range(4):
            start = onset - round((100 - at(start)) / 100 / rate * 60) * MINUTE_MS
        return Override(0, start, end, rate, swing=False, soc_percent=100 - rate * 100 * (onset - start) / HOUR_MS)
    if causes.cycled[row]:
        start = onset - 1_800_000
        return Override(0, start, end, rate, swing=True, soc_percent=at(start))
    if emptied:
        return charged_before(0, onset, at(onset - CHARGED_MS), soc)
    return None


def spread(
    world: World, events: list[Event], rack_size: int, rng: np.random.Generator
) -> tuple[list[Event], list[Event]]:
    """Spread fires to the modules beside them, one after the other.

    Returns:
        Events of the neighbours that run away too, and of those that are only heated.
    """
    caught: list[Event] = []
    warmed: list[Event] = []
    touched = {one.module for one in events}
    front = list(events)
    while front:
        pairs = []
        for fire in front:
            for beside in (fire.module - _MODULES_BESIDE, fire.module + _MODULES_BESIDE):
                same = 0 <= beside < len(world.traits.rack) and beside // rack_size == fire.module // rack_size
                if same and beside not in touched and fire.no_return_ms is not None:
                    touched.add(beside)
                    pairs.append((fire, beside))
        front = []
        if not pairs:
            break
        for made in _beside(world, pairs, rng):
            (caught if made.no_return_ms is not None else warmed).append(made)
            if made.no_return_ms is not None and made.no_return_ms < world.until_ms - 2 * HOUR_MS:
                front.append(made)
    return caught, warmed


def _beside(world: World, pairs: list[tuple[Event, int]], rng: np.random.Generator) -> list[Event]:
    modules = np.array([beside for _, beside in pairs], np.int64)
    causes = draw_causes(modules, [SPREADING] * len(pairs), world.build, rng)
    causes.wall_w_k[:, 0] = 0.7 * rng.lognormal(0, 0.7, len(pairs))
    onset = np.array([fire.no_return_ms for fire, _ in pairs], np.int64) // MINUTE_MS * MINUTE_MS
    lived = world.background(modules, [])
    tables = lived.rows((onset - world.first_ms) // MINUTE_MS, round((_SLOWEST_H + 1.6) * 60))
    longest = max(len(fire.side_c) for fire, _ in pairs)
    wall = np.empty((len(pairs), longest))
    for i, (fire, _) in enumerate(pairs):
        seen = fire.side_c[:: GRID_MS // fire.grid_ms][(int(onset[i]) - fire.onset_ms) // GRID_MS :]
        # A burnt-out neighbour cools within the hour.
        cooling = 25 + (seen[-1] - 25) * np.exp(-np.arange(longest) * GRID_S / 2400)
        wall[i] = np.concatenate((seen, cooling))[:longest]
    courses = solve(
        make_trials(causes, world.build, world.traits.of(modules), tables, wall), hours=3.0, after_s=AFTER_S
    )
    return [event(courses, i, causes, i, int(onset[i]), tables[1][i], world.build.parallel) for i in range(len(pairs))]
