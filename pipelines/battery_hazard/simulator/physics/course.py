"""The input (`Trials`) and output (`Courses`) of the module model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.physics.cell import Cell, Float

if TYPE_CHECKING:
    from pipelines.battery_hazard.simulator.physics.module_model import State

Rows = NDArray[np.int64]

LEAP = 4
"""Number of grid points that a calm module advances in one step."""
GRID_S = 5.0
"""Time between two points of a course."""
TABLE_S = 60.0
_PLAIN = ("mean_c", "hot_c", "cold_c", "core_c", "side_c", "volt_v", "low_v", "high_v")


@dataclass
class Trials:
    """Conditions of modules, one row per module.

    Attributes:
        cell: design of the cells.
        series, parallel: how the cells are connected; cells of a parallel group are side by side.
        start_c: initial temperature, [modules].
        soc_percent: initial state of charge, [modules].
        air_c: temperature of the air around the cells each minute, [modules, minutes]; the last value is held.
        usual_c: temperature of the same module without the fault, each minute, [modules, minutes].
        load_w: heat of the normal load in each cell, each minute, [modules, minutes].
        loss_w_k: thermal conductance from a cell to the air, W/K, [modules].
        conduction_w_k: thermal conductance from a cell to the next, W/K, [modules].
        radiating: whether the surface is free: it then loses more than `loss_w_k` says once it is hot.
        cooling_left: share of the loss that remains after a cooling failure, [modules].
        weak: index of the cell with the fault, [modules].
        short_ohm, short_end_ohm, short_tau_s: first and last resistance of an internal short, and the time in which it
            falls from one to the other, [modules].
        overcharge_c: charging rate (1/h) of an overcharged module, which heats it beyond 100 %, [modules].
        charge_from_percent: state of charge at which overcharging begins, [modules].
        wall_c: temperature of a hot object, each `GRID_S`, [modules, k]; the last value is held.
        wall_w_k: thermal conductance from each cell to that object, W/K, [modules, cells].
        burst_pa: pressure at which a cell vents, [modules].
    """

    cell: Cell
    series: int
    parallel: int
    start_c: Float
    soc_percent: Float
    air_c: Float
    usual_c: Float
    load_w: Float
    loss_w_k: Float
    conduction_w_k: Float
    radiating: bool
    cooling_left: Float
    weak: Rows
    short_ohm: Float
    short_end_ohm: Float
    short_tau_s: Float
    overcharge_c: Float
    charge_from_percent: Float
    wall_c: Float
    wall_w_k: Float
    burst_pa: Float


@dataclass
class Courses:
    """Course of each module, one point each `GRID_S`; arrays [modules, k] unless said otherwise.

    Attributes:
        mean_c: mean surface temperature.
        hot_c: surface temperature of the hottest group of cells, where the hottest thermistor is.
        core_c: core temperature of the hottest cell.
        cold_c: surface temperature of the coldest group of cells.
        side_c: temperature of the outermost cell, which faces the next module.
        volt_v: change of the module's voltage caused by the fault.
        low_v, high_v: change of the lowest and of the highest voltage of a group of cells.
        gas_mol: CO, H2 and organic gases released so far, [modules, k, 3].
        no_return_s: time of the point of no return, infinite if never, [modules].
        vent_s: time when the first cell vents, infinite if never, [modules].
    """

    mean_c: Float
    hot_c: Float
    cold_c: Float
    core_c: Float
    side_c: Float
    volt_v: Float
    low_v: Float
    high_v: Float
    gas_mol: Float
    no_return_s: Float
    vent_s: Float

    @classmethod
    def empty(cls, modules: int, points: int) -> "Courses":
        """Zeros for `points` of each module."""
        plain = {name: np.zeros((modules, points)) for name in _PLAIN}
        gas, never = np.zeros((modules, points, 3)), np.full(modules, np.inf)
        return cls(**plain, gas_mol=gas, no_return_s=never, vent_s=never.copy())

    def note(self, trials: Trials, state: "State", rows: Rows, point: Rows) -> None:
        """Store the current state of modules `rows` as their `point`."""
        surface = state.surface[rows]
        groups = surface.reshape(len(rows), trials.series, trials.parallel).mean(axis=2)
        self.mean_c[rows, point], self.hot_c[rows, point] = surface.mean(axis=1), groups.max(axis=1)
        self.cold_c[rows, point] = groups.min(axis=1)
        self.low_v[rows, point], self.high_v[rows, point] = state.low_v[rows], state.high_v[rows]
        self.core_c[rows, point], self.side_c[rows, point] = state.temp[rows].max(axis=1), state.temp[rows, -1]
        self.volt_v[rows, point], self.gas_mol[rows, point] = -state.drop_v[rows], state.gas[rows]

    def bridge(self, rows: Rows, point: Rows) -> None:
        """Interpolate the points that a step of `LEAP` points skipped before `point`."""
        for of in (*(getattr(self, name) for name in _PLAIN), self.gas_mol):
            before, now = of[rows, point - LEAP], of[rows, point]
            for k in range(1, LEAP):
                of[rows, point - LEAP + k] = before + (now - before) * (k / LEAP)

    def until(self, points: int) -> "Courses":
        """The first `points` of each course."""
        return replace(self, **{name: getattr(self, name)[:, :points] for name in (*_PLAIN, "gas_mol")})
