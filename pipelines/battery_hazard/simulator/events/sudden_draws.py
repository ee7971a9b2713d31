"""Draws the parameters of sudden shorts, and the chance that one runs away.

Chosen so that heating, decay and dips of voltage have the shape of published indentation tests of pouch and prismatic
cells (see docs/physics.md); their outcomes were not used.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.mechanisms import Build, between
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.spot import Spots

Flags = NDArray[np.bool_]


class Ranges(NamedTuple):
    """Ranges of the parameters in `Spots`, which are drawn log-uniformly from them.

    Attributes:
        jump_k: rise that the spot would have by the first current alone; decides the spot's size.
        local: share of the cell that reacts around a spot whose heat decays.
    """

    c_rate: tuple[float, float]
    jump_k: tuple[float, float]
    fading_s: tuple[float, float]
    left: tuple[float, float]
    left_s: tuple[float, float]
    dip_v: tuple[float, float]
    spot_tau_s: tuple[float, float]
    loss_tau_s: tuple[float, float]
    lag_s: tuple[float, float]
    seen: tuple[float, float]
    local: tuple[float, float]


_RANGES = {
    "large cell": Ranges(
        (4, 20), (90, 300), (0.5, 4), (0.03, 0.4), (10, 300), (0.8, 2.6), (1.5, 8), (300, 1500), (0.05, 0.8), (0.6, 1),
        (0.05, 0.25),
    ),
    "small cell": Ranges(
        (3, 15), (15, 60), (0.5, 4), (0.15, 0.8), (60, 1500), (1.5, 3.4), (8, 20), (60, 300), (3, 12), (0.6, 1),
        (0.03, 0.2),
    ),
    "mild cell": Ranges(
        (4, 15), (40, 120), (0.5, 4), (0.02, 0.2), (30, 400), (0.03, 0.2), (40, 400), (2000, 8000), (2, 12), (0.6, 1),
        (0.03, 0.3),
    ),
    "module": Ranges(
        (1.5, 8), (50, 170), (1, 20), (0.03, 0.3), (10, 200), (0.5, 2.2), (8, 20), (1200, 2700), (2, 12), (0.05, 0.6),
        (0.03, 0.2),
    ),
}  # fmt: skip
_SMALL_AH = 2.5
_CANDIDATES = 300
_K_PER_CHARGE = 1000.0
"""Rise of a cell's temperature if its whole charge becomes heat in it, kelvin."""
_COOLED_SHARE, _COOLED_TAU = 0.4, 0.25
"""Share of tests between plates that cool the cell, and how much faster it cools there."""
_EMPTY_SHARE, _BURSTS_S, _SPOT_HEAT, _COLLAPSE = 0.1, (1, 3), (0.5, 0.9), (0.1, 0.45)
_SHARED_SHARE, _SHARED_DIP = 0.15, 0.01
"""Share of tests in which other cells in parallel hold the voltage, and what is left of the dip."""
_BURNS_FROM_PERCENT = 30.0
_NEVER = 2.0


def runaway_chance(soc_percent: Float, capacity_ah: float, cooled: Flags, chemistry: str) -> Float:
    """Chance that a sudden short of a cell goes on into runaway.

    A charged, large cell holds its heat and reacts strongly. A small one, or one between the plates of a press, loses
    its heat in time. LFP seldom runs away, at any state of charge. The coefficients are our choice.
    """
    size = np.log(capacity_ah / 5)
    if chemistry != "nmc":
        logit = -1.2 + 0.5 * size + 0.005 * soc_percent - cooled
    else:
        logit = 0.6 + 0.09 * (soc_percent - 50) + 2.2 * min(size, 1.0) - 2.0 * cooled
    return np.asarray(1 / (1 + np.exp(-logit)))


def draw_spots(
    build: Build, usual_c: Float, soc_percent: Float, runs_away: Flags, rng: np.random.Generator
) -> tuple[Spots, Flags]:
    """Draw shorts with a given outcome.

    Args:
        build: of the modules or cells.
        usual_c: their temperature at the onset, [rows].
        soc_percent: their state of charge at the onset, [rows].
        runs_away: the outcome of each, [rows].
        rng: source of randomness.

    Returns:
        The shorts, and which modules are charged or discharged to another state of charge before, [rows].
    """
    n, cell, bench = len(soc_percent), build.cell, build.bench
    small, mild = cell.capacity_ah < _SMALL_AH, cell.chemistry != "nmc"
    ranges = _RANGES["module" if not bench else "mild cell" if mild else "small cell" if small else "large cell"]
    drawn = {name: between(low, high, rng, n) for name, (low, high) in ranges._asdict().items()}
    cooled = np.zeros(n, np.bool_)
    if bench:
        soc, cooled = _tested(build, runs_away, rng)
        charged = np.ones(n, np.bool_)
    else:
        charged = runs_away & (soc_percent < _BURNS_FROM_PERCENT)
        soc = np.where(charged, rng.uniform(60, 98, n), soc_percent)
    shared = (rng.random(n) < _SHARED_SHARE) & bench
    burst_s, spot_heat = rng.uniform(*_BURSTS_S, n), rng.uniform(*_SPOT_HEAT, n)
    burnt, front_s, delay_s = _reaction(build, soc, runs_away, drawn.pop("local"), rng)
    jump_k = drawn.pop("jump_k")
    drawn["dip_v"] *= np.where(shared, _SHARED_DIP, 1.0) / build.parallel
    drawn["loss_tau_s"] *= np.where(cooled & (not small), _COOLED_TAU, 1.0)
    spots = Spots(
        cell=cell,
        series=build.series,
        parallel=build.parallel,
        start_c=usual_c,
        soc_percent=soc,
        weak=rng.integers(0, build.series * build.parallel, n),
        burst_s=burst_s,
        spot_share=np.clip(spot_heat * drawn["c_rate"] / 3600 * _K_PER_CHARGE * burst_s / jump_k, 0.02, 0.6),
        spot_heat=spot_heat,
        conduction_w_k=2.7 * rng.lognormal(0, 0.25, n),
        burnt=burnt,
        front_s=front_s,
        delay_s=delay_s,
        collapse=np.where(runs_away & ~shared & (not mild), rng.uniform(*_COLLAPSE, n), _NEVER),
        **drawn,
    )
    return spots, charged


def _tested(build: Build, runs_away: Flags, rng: np.random.Generator) -> tuple[Float, Flags]:
    """State of charge and cooling of tests with a given outcome: the first of many that has it."""
    n = len(runs_away)
    shape, rows = (n, _CANDIDATES), np.arange(n)
    cooled = rng.random(shape) < _COOLED_SHARE
    # An empty cell still holds what it cannot deliver at its current.
    soc = np.where(rng.random(shape) < _EMPTY_SHARE, rng.uniform(3, 9, shape), rng.uniform(5, 100, shape))
    chance = runaway_chance(soc, build.cell.capacity_ah, cooled, build.cell.chemistry)
    first = np.argmax((rng.random(shape) < chance) == runs_away[:, None], axis=1)
    return soc[rows, first], cooled[rows, first]


def _reaction(
    build: Build, soc: Float, runs_away: Flags, local: Float, rng: np.random.Generator
) -> tuple[Float, Float, Float]:
    """Share of the shorted cell that reacts, time constant of the front, and when it starts (s)."""
    n = len(soc)
    if build.cell.chemistry != "nmc":
        burnt, front, delay = rng.uniform(0.5, 1, n), rng.uniform(4, 9, n), rng.uniform(3, 12, n)
    else:
        burnt = np.clip(rng.uniform(0.3, 1.2, n) * (0.35 + 0.65 * soc / 100), 0.15, 1)
        front = between(0.4, 4, rng, n) * max(1.0, (build.cell.capacity_ah / 6) ** 0.5)
        delay = np.where(rng.random(n) < 0.3, rng.uniform(0, 1.5, n), rng.uniform(1.5, 9, n))
    return (
        np.where(runs_away, burnt, local),
        np.where(runs_away, front, between(2, 8, rng, n)),
        np.where(runs_away, delay, rng.uniform(0, 8, n)),
    )
