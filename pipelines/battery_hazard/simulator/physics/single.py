"""A single cell in the oven test and with an internal short in still air, as in published models and tests."""

from dataclasses import dataclass

import numpy as np

from pipelines.battery_hazard.simulator.physics.abuse import Contents, fresh, react
from pipelines.battery_hazard.simulator.physics.cell import CYLINDRICAL_18650, KELVIN, Cell, Float

STEFAN_BOLTZMANN = 5.670e-8
CONVECTION_W_M2K = 7.17
EMISSIVITY = 0.8
RUNAWAY_C = 250.0
"""Above this temperature, a cell in an oven has run away: others stay within a few tens of degrees of the oven."""


@dataclass(frozen=True)
class Course:
    """Course of cells, one column per cell.

    Attributes:
        time_s: times, [k].
        temp_c: temperatures, [k, cells].
        contents: contents in the order of `Contents`, [k, 5, cells].
        runaway_s: when `RUNAWAY_C` was passed, infinite if never, [cells].
        heat_j: heat released by each reaction, [4, cells].
    """

    time_s: Float
    temp_c: Float
    contents: Float
    runaway_s: Float
    heat_j: Float


def surface_loss_w(temp_c: Float, surroundings_c: Float, area_m2: float) -> Float:
    """Convection and radiation from a cell's surface to its surroundings, watts."""
    radiated = (temp_c + KELVIN) ** 4 - (surroundings_c + KELVIN) ** 4
    loss: Float = area_m2 * (CONVECTION_W_M2K * (temp_c - surroundings_c) + EMISSIVITY * STEFAN_BOLTZMANN * radiated)
    return loss


def heat_cells(
    surroundings_c: Float,
    *,
    start_c: float = 25.0,
    power_w: Float | float = 0.0,
    hours: float = 4.0,
    dt_s: float = 0.5,
    cell: Cell = CYLINDRICAL_18650,
) -> Course:
    """Simulate full cells in constant surroundings, with a constant internal heat (a short) or without (an oven test).

    Args:
        surroundings_c: temperature of the surroundings, [cells].
        start_c: initial temperature of the cells.
        power_w: internal heat, [cells] or a scalar. It ends when the stored energy (capacity x 3.8 V) is spent.
        hours: duration.
        dt_s: time step.
        cell: design of the cells.
    """
    cells = len(surroundings_c)
    temp = np.full(cells, start_c)
    contents = fresh((cells,))
    stored_j = np.full(cells, cell.capacity_ah * 3600 * 3.8)
    heat_j = np.zeros((4, cells))
    runaway = np.full(cells, np.inf)
    every = max(1, round(5 / dt_s))
    times: list[float] = []
    temps: list[Float] = []
    kept: list[Contents] = []
    for number in range(round(hours * 3600 / dt_s)):
        if number % every == 0:
            times.append(number * dt_s)
            temps.append(temp)
            kept.append(contents)
        contents, heat = react(contents, temp, dt_s)
        heat_j += heat * cell.volume_m3
        shorted = np.minimum(power_w * dt_s, stored_j)
        stored_j = stored_j - shorted
        lost = surface_loss_w(temp, surroundings_c, cell.area_m2) * dt_s
        temp = temp + (heat.sum(axis=0) * cell.volume_m3 + shorted - lost) / cell.heat_capacity_j_k
        runaway = np.where((temp >= RUNAWAY_C) & np.isinf(runaway), (number + 1) * dt_s, runaway)
    return Course(np.array(times), np.stack(temps), np.array(kept), runaway, heat_j)


def critical_oven_c(low_c: float = 130.0, high_c: float = 170.0, cell: Cell = CYLINDRICAL_18650) -> float:
    """Lowest oven temperature at which a cell runs away within four hours, to 0.05 degrees."""
    while high_c - low_c > 0.05:
        ovens = np.linspace(low_c, high_c, 12)
        gone = np.isfinite(heat_cells(ovens, cell=cell).runaway_s)
        first = int(np.argmax(gone))
        low_c, high_c = float(ovens[first - 1]), float(ovens[first])
    return high_c
