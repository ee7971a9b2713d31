"""What is done to modules, and what becomes of them: the input and output of the module model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.physics.cell import Cell, Float

if TYPE_CHECKING:
    from pipelines.battery_hazard.simulator.physics.module_model import State

Rows = NDArray[np.int64]

LEAP = 4
"""Points of the grid that a calm module leaps over at once."""
GRID_S = 5.0
"""Resolution of the course that is kept."""
TABLE_S = 60.0


@dataclass
class Trials:
    """What is done to modules: one row a module.

    Attributes:
        cell: design of the cells.
        series, parallel: how they are connected; cells of a group lie side by side.
        start_c: temperature at the beginning, [modules].
        soc_percent: state of charge at the beginning, [modules].
        air_c: air around the cells each minute, [modules, minutes]; the last value holds on.
        usual_c: temperature of the same module without the fault, each minute, [modules, minutes].
        load_w: heat of the normal load in each cell, each minute, [modules, minutes].
        loss_w_k: of a cell to the air, [modules].
        conduction_w_k: from a cell to the next, [modules].
        radiating: a free surface, which loses more than `loss_w_k` once it is hot.
        cooling_left: part of the loss that is left after a cooling failure, [modules].
        weak: the cell with the fault, [modules].
        short_ohm, short_end_ohm, short_tau_s: an internal short that falls from one resistance to the other, [modules].
        overcharge_c: charging rate (1/h) at the weak module; heat beyond 100 %, [modules].
        charge_from_percent: state of charge that overcharging begins at, [modules].
        wall_c: temperature of a hot thing on a grid of `GRID_S`, [modules, k]; the last value holds on.
        wall_w_k: how well each cell is connected to it, [modules, cells].
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
    """What became of modules, on a grid of `GRID_S` from the beginning; arrays [modules, k] unless said otherwise.

    Attributes:
        mean_c: mean surface temperature.
        hot_c: surface of the hottest group of cells: where the hottest thermistor sits.
        core_c: hottest cell's own temperature.
        side_c: temperature of the outermost cell that a neighbour sees.
        volt_v: change of the module's voltage by the fault.
        gas_mol: CO, H2 and organic gases set free so far, [modules, k, 3].
        no_return_s: [modules], infinite if never.
        vent_s: [modules], when the first cell vents, infinite if never.
    """

    mean_c: Float
    hot_c: Float
    core_c: Float
    side_c: Float
    volt_v: Float
    gas_mol: Float
    no_return_s: Float
    vent_s: Float

    @classmethod
    def empty(cls, modules: int, points: int) -> "Courses":
        """Room for `points` of each module."""
        mean, hot, core, side, volt = (np.zeros((modules, points)) for _ in range(5))
        gas = np.zeros((modules, points, 3))
        return cls(mean, hot, core, side, volt, gas, np.full(modules, np.inf), np.full(modules, np.inf))

    def note(self, trials: Trials, state: "State", rows: Rows, point: Rows) -> None:
        """Keep what modules `rows` are at now as their `point`."""
        surface = state.surface[rows]
        groups = surface.reshape(len(rows), trials.series, trials.parallel).mean(axis=2)
        self.mean_c[rows, point], self.hot_c[rows, point] = surface.mean(axis=1), groups.max(axis=1)
        self.core_c[rows, point], self.side_c[rows, point] = state.temp[rows].max(axis=1), state.temp[rows, -1]
        self.volt_v[rows, point], self.gas_mol[rows, point] = -state.drop_v[rows], state.gas[rows]

    def bridge(self, rows: Rows, point: Rows) -> None:
        """Fill the points between a leap's last and `point` in a straight line."""
        for of in (self.mean_c, self.hot_c, self.core_c, self.side_c, self.volt_v, self.gas_mol):
            before, now = of[rows, point - LEAP], of[rows, point]
            for k in range(1, LEAP):
                of[rows, point - LEAP + k] = before + (now - before) * (k / LEAP)

    def until(self, points: int) -> "Courses":
        """The first `points` only."""
        names = ("mean_c", "hot_c", "core_c", "side_c", "volt_v", "gas_mol")
        return replace(self, **{name: getattr(self, name)[:, :points] for name in names})
