"""Draws the parameters of each mechanism, and makes the module model's input from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import MINUTE_MS
from pipelines.battery_hazard.simulator.physics.cell import CYLINDRICAL_18650, Cell, Float
from pipelines.battery_hazard.simulator.physics.course import GRID_S, Trials
from pipelines.battery_hazard.simulator.plant.normal import Modules, Operation, Override, Traits
from pipelines.battery_hazard.simulator.plant.site import Site

Int = NDArray[np.int64]

_NEVER_OHM = np.inf
_WALL_LIMIT_C = 400.0
_NAIL_OHM, _INDENTED_S, _FLAME_C_MIN = 0.003, 5.0, 30.0
"""Destructive tests of cells are harsher: a nail is a near-perfect short, an indenter shorts within seconds, and a hot
plate heats quickly."""
_WHOLE_SHARE, _WORKING_SHARE, _BENCH_CYCLED_SHARE = 0.5, 0.75, 0.25


@dataclass(frozen=True)
class Build:
    """How modules are built: cells in series and parallel, and the cell. One cell in series: a cell on a test bench."""

    series: int
    parallel: int
    cell: Cell

    @property
    def bench(self) -> bool:
        """Whether this is a single cell on a test bench instead of a module in a rack."""
        return self.series == 1


@dataclass
class Causes:
    """Drawn causes of abuse, one row each; arrays [rows].

    Attributes:
        mechanism: one of `ground_truth.MECHANISMS`, or `soft_short`.
        wall_w_k: thermal conductance from each cell to a hot object, W/K, [rows, cells].
        cycled: whether the module is charged and discharged hard meanwhile.
        strength: factor that is raised until a fault runs away (and lowered until a nuisance does not).
    """

    module: Int
    mechanism: list[str]
    ohm: Float
    short_tau_s: Float
    c_rate: Float
    ramp_c_min: Float
    wall_w_k: Float
    conduction_w_k: Float
    burst_pa: Float
    weak: Int
    cycled: NDArray[np.bool_]
    strength: Float

    def only(self, rows: NDArray[np.int64]) -> "Causes":
        """The causes of some rows."""
        picked = {n: getattr(self, n)[rows] for n in self.__dataclass_fields__ if n != "mechanism"}
        return Causes(mechanism=[self.mechanism[i] for i in rows.tolist()], **picked)


def between(low: float, high: float, rng: np.random.Generator, size: int) -> Float:
    """Draw from a log-uniform distribution."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), size)))


def draw_causes(module: Int, mechanism: list[str], build: Build, rng: np.random.Generator) -> Causes:
    """Draw how its mechanism acts on each module of `module`.

    Short resistances are given for an 18650 cell and scaled by capacity, so that the heat per volume is comparable. An
    18650 in still air runs away below about 1.7 ohm (8 to 10 W).
    """
    n, bench = len(module), build.bench
    scale = CYLINDRICAL_18650.capacity_ah / build.cell.capacity_ah * (1 if bench else 2)
    is_a = {
        name: np.array([m == name for m in mechanism])
        for name in ("internal_short", "hard_short", "soft_short", "cooling_failure", "external_heating")
    }
    ohm = between(0.15, 1.3, rng, n)
    ohm = np.where(is_a["hard_short"], between(_NAIL_OHM if bench else 0.02, 0.15, rng, n), ohm)
    ohm = np.where(is_a["soft_short"], between(3.0, 15.0, rng, n), ohm)
    short = is_a["hard_short"] | is_a["soft_short"] | is_a["internal_short"]
    tau = np.where(is_a["hard_short"], 1.0, between(_INDENTED_S if bench else 60, 5400, rng, n))
    cells = build.series * build.parallel
    # About half of the cells vent well before runaway; the others have no weak spot and open only in runaway.
    burst = np.where(rng.random(n) < 0.5, between(2.2e5, 5e5, rng, n), between(3e6, 8e6, rng, n))
    wall_w_k, cycled = _heaters(is_a["external_heating"], build, rng)
    return Causes(
        module,
        mechanism,
        np.where(short, ohm * scale, _NEVER_OHM),
        tau,
        rng.uniform(1, 2, n)
        if bench
        else np.where(rng.random(n) < 0.5, rng.uniform(0.5, 1.0, n), rng.uniform(1, 2, n)),
        between(0.5, _FLAME_C_MIN if bench else 10, rng, n),
        wall_w_k,
        2.7 * rng.lognormal(0, 0.25, n),
        burst,
        rng.integers(0, cells, n),
        cycled | is_a["cooling_failure"],
        np.ones(n),
    )


def _heaters(heated: NDArray[np.bool_], build: Build, rng: np.random.Generator) -> tuple[Float, NDArray[np.bool_]]:
    """Conductance from the heat source to each cell, [rows, cells], and which modules are cycled meanwhile, [rows].

    A cell on a test bench is in an oven. A module has something hot beside its first cell, or is heated as a whole, by
    a heater that does not switch off or by hot air from a fire elsewhere. Most modules heated as a whole keep working.
    """
    n, cells = len(heated), build.series * build.parallel
    wall_w_k = np.zeros((n, cells))
    if build.bench:
        wall_w_k[:] = build.cell.heat_capacity_j_k / 30
        return np.where(heated[:, None], wall_w_k, 0.0), heated & (rng.random(n) < _BENCH_CYCLED_SHARE)
    wall_w_k[:, 0] = between(3, 9, rng, n)
    whole = heated & (rng.random(n) < _WHOLE_SHARE)
    wall_w_k[whole] = between(0.3, 3, rng, int(whole.sum()))[:, None]
    return np.where(heated[:, None], wall_w_k, 0.0), whole & (rng.random(n) < _WORKING_SHARE)


@dataclass(frozen=True)
class Background:
    """Normal operation of some modules, each minute from `first_ms` on; arrays [modules, minutes]."""

    first_ms: int
    air_c: Float
    usual_c: Float
    load_w: Float
    soc_percent: Float

    def rows(self, first: Int, minutes: int) -> "list[Float]":
        """Air, usual temperature, load and state of charge from each module's minute `first` on, [modules, minutes]."""
        at = np.minimum(first[:, None] + np.arange(minutes), self.air_c.shape[1] - 1)
        rows = np.arange(len(first))[:, None]
        return [values[rows, at] for values in (self.air_c, self.usual_c, self.load_w, self.soc_percent)]


def background(
    site: Site, traits: Traits, cell: Cell, overrides: list[Override], from_ms: int, to_ms: int
) -> Background:
    """Run the normal operation of modules (rows of `traits`) by the minute, without the ripple of grid services."""
    ts = np.arange(from_ms, to_ms, MINUTE_MS, dtype=np.int64)
    done: Operation = Modules(cell, traits, MINUTE_MS, overrides).run(ts, site.minutes(from_ms, to_ms), None)
    return Background(from_ms, done.air_c.T, done.temp_c.T, done.heat_w.T, done.soc_percent.T)


def make_trials(
    causes: Causes, build: Build, traits: Traits, tables: list[Float], wall_c: Float | None = None
) -> Trials:
    """Make the input of the module model.

    Args:
        causes: what happens to the modules.
        build: how the modules are built.
        traits: of the modules, in the order of the rows of `causes`.
        tables: air, usual temperature, load and state of charge each minute from the onset, [modules, minutes].
        wall_c: temperature of a burning neighbour on the model's grid, [modules, k]; None: a heater's.
    """
    air, usual, load, soc = tables
    mechanism = np.array(causes.mechanism)
    n = len(mechanism)
    if wall_c is None:
        rising = usual[:, :1] + causes.ramp_c_min[:, None] * causes.strength[:, None] * np.arange(8000) * (GRID_S / 60)
        wall_c = np.minimum(rising, _WALL_LIMIT_C)
    overcharged = mechanism == "overcharge"
    ohm = causes.ohm / causes.strength
    return Trials(
        cell=build.cell,
        series=build.series,
        parallel=build.parallel,
        start_c=usual[:, 0],
        soc_percent=soc[:, 0],
        air_c=air,
        usual_c=usual,
        load_w=load,
        loss_w_k=build.cell.heat_capacity_j_k / traits.thermal_tau_s,
        conduction_w_k=causes.conduction_w_k,
        radiating=build.bench,
        cooling_left=np.where(mechanism == "cooling_failure", 0.04, 1.0),
        weak=causes.weak,
        short_ohm=np.where(causes.short_tau_s > 1, ohm * 20, ohm),
        short_end_ohm=ohm,
        short_tau_s=causes.short_tau_s,
        overcharge_c=np.where(overcharged, causes.c_rate * causes.strength, 0.0),
        charge_from_percent=np.full(n, 100.0),
        wall_c=wall_c,
        wall_w_k=causes.wall_w_k,
        burst_pa=causes.burst_pa,
    )
