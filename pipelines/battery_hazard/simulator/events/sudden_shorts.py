"""Sudden shorts: draws them, decides which run away, and makes events of them. See `physics.spot`.

Those that decay look like those that run away for the first seconds, and are the hardest nuisances of a battery.
"""

from dataclasses import replace

import numpy as np

from common.times import MINUTE_MS
from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.events.faults import NeverRunsAwayError, World
from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING, SUDDEN
from pipelines.battery_hazard.simulator.events.mechanisms import Int
from pipelines.battery_hazard.simulator.events.sudden_draws import Flags, draw_spots
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.course import GRID_S as GAS_GRID_S
from pipelines.battery_hazard.simulator.physics.spot import GRID_S, VENT_SHARE, SpotCourses, Spots, gas_mol, run_spots
from pipelines.battery_hazard.simulator.plant.gas import sensed_ppm
from pipelines.battery_hazard.simulator.plant.normal import CHARGED_MS, Override, charged_before

_GRID_MS = round(GRID_S * 1000)
_HOTTEST_DECAYING_C, _COOLEST_RUNAWAY_C, _COOLEST_MILD_C = 118.0, 130.0, 105.0
_RUNAWAY_K_S = 1.0
_TRIES = 25
_OVER_K = 3.0
_LOGGER_LAG_S = 11
_DECAYING_PER_RUNAWAY = 2.0


def decaying_beside(runaways: int, free: int, rng: np.random.Generator) -> int:
    """How many shorts decay while `runaways` run away, at most half of the `free` modules."""
    return min(int(rng.poisson(_DECAYING_PER_RUNAWAY * runaways)), free // 2)


def run_sudden_shorts(
    world: World, modules: Int, onset_ms: Int, runs_away: Flags, rng: np.random.Generator
) -> tuple[list[Event], list[Override]]:
    """Run a sudden short in each of `modules`, with the given outcome.

    Raises:
        NeverRunsAwayError: a short does not run away at the highest strength that is tried.
    """
    if not len(modules):
        return [], []
    build = world.build
    usual = world.background(modules, [])
    minute = ((onset_ms - world.first_ms) // MINUTE_MS).astype(np.int64)
    _, usual_c, _, soc = (values[:, 0] for values in usual.rows(minute, 1))
    shorts, charge = draw_spots(build, usual_c, soc, runs_away, rng)
    shorts, courses = _with_outcome(shorts, runs_away)
    n = len(modules)
    lag = np.where(rng.random(n) < 0.5, rng.integers(0, _LOGGER_LAG_S + 1, n), 0)
    # Where a bench has several thermometers, most of them are away from the short.
    away = rng.uniform(0.3, 1, n)
    events, overrides = [], []
    for i in range(n):
        onset = int(onset_ms[i])
        if charge[i]:
            begin = usual.soc_percent[i, max(0, (onset - CHARGED_MS - world.first_ms) // MINUTE_MS)]
            overrides.append(charged_before(int(modules[i]), onset, float(begin), float(shorts.soc_percent[i])))
        event = _event(shorts, courses, i, int(modules[i]), onset, float(usual_c[i]), runs_away=bool(runs_away[i]))
        events.append(_of_bench(event, int(lag[i]), float(away[i])) if build.bench else event)
    return events, overrides


def _with_outcome(shorts: Spots, runs_away: Flags) -> tuple[Spots, SpotCourses]:
    """Courses of the shorts. Those with another outcome than they should have are made stronger or weaker."""
    courses = run_spots(shorts)
    coolest_c = _COOLEST_RUNAWAY_C if shorts.cell.chemistry == "nmc" else _COOLEST_MILD_C
    pending = np.arange(len(runs_away))
    for attempt in range(_TRIES):
        peak_c = shorts.start_c[pending] + courses.hot_c[pending].max(axis=1)
        fastest = np.diff(courses.hot_c[pending], axis=1).max(axis=1) / GRID_S
        enough = (peak_c >= coolest_c) & (fastest >= _RUNAWAY_K_S)
        weak = runs_away[pending] & ~enough
        pending = pending[weak | (~runs_away[pending] & (peak_c > _HOTTEST_DECAYING_C))]
        if not pending.size:
            return shorts, courses
        if attempt < _TRIES - 1:
            factor = np.where(runs_away[pending], 1.1, 0.85)
            shorts = _scaled(shorts, pending, factor)
            again = run_spots(shorts.only(pending))
            for name, values in vars(again).items():
                getattr(courses, name)[pending] = values
    raise NeverRunsAwayError


def _scaled(shorts: Spots, rows: Int, factor: Float) -> Spots:
    """The same shorts with heat that is `factor` times as strong in some rows."""
    names = ("c_rate", "burnt", "seen", "left")
    changed = {name: getattr(shorts, name).copy() for name in names}
    for name in names:
        changed[name][rows] *= factor
    for name in ("burnt", "seen", "left"):
        changed[name] = np.minimum(changed[name], 1.0)
    front = shorts.front_s.copy()
    front[rows] /= np.maximum(factor, 1)
    return replace(shorts, front_s=front, **changed)


def _event(
    shorts: Spots, courses: SpotCourses, i: int, module: int, onset: int, usual_c: float, *, runs_away: bool
) -> Event:
    hot = courses.hot_c[i]
    k = len(hot) if runs_away else _over(hot)
    # Gas is computed on its own coarser grid.
    every = round(GAS_GRID_S / GRID_S)
    coarse = sensed_ppm(gas_mol(shorts.cell, courses.burnt[i, :k:every]))
    at, grid = np.arange(k) / every, np.arange(len(coarse[0]))
    own, rack = (np.stack([np.interp(at, grid, ppm[:, g]) for g in range(3)], axis=1) for ppm in coarse)
    opened = np.flatnonzero(courses.burnt[i].max(axis=1) > VENT_SHARE)
    return Event(
        module,
        SUDDEN if runs_away else DECAYING,
        onset,
        onset + _GRID_MS if runs_away else None,
        onset + int(opened[0]) * _GRID_MS if opened.size else None,
        courses.mean_c[i, :k],
        hot[:k],
        courses.cold_c[i, :k],
        courses.volt_v[i, :k],
        courses.low_v[i, :k],
        courses.high_v[i, :k],
        own,
        rack,
        usual_c + courses.side_c[i, :k],
        int(shorts.weak[i]) // shorts.parallel,
        _GRID_MS,
    )


def _over(hot_c: Float) -> int:
    """Number of points until a decaying short no longer warms its module, at least 5 minutes."""
    warm = np.flatnonzero(hot_c > _OVER_K)
    return min(len(hot_c), max(300, int(warm[-1]) + 2 if warm.size else 0))


def _of_bench(event: Event, late_s: int, away: float) -> Event:
    """The event on a bench, whose voltage is logged later than its temperature, and whose mean is below the hottest."""
    volt = np.concatenate((np.zeros(late_s), event.volt_v))[: len(event.volt_v)]
    return replace(event, volt_v=volt, mean_c=event.mean_c * away)
