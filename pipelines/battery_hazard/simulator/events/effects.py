"""Adds the course of an event to the readings that the modules would have without it."""

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.plant.sensing import (
    AVG,
    COLD_CELL,
    CURRENT,
    GAS,
    HIGH_CELL_V,
    HOT_CELL,
    LOW_CELL_V,
    MAX,
    VOLTAGE,
)

_COOLING_S, _CLEARING_S = 2400.0, 900.0


def lay(
    one: Event,
    values: NDArray[np.float64],
    ts: NDArray[np.int64],
    beside: NDArray[np.int64],
    share: NDArray[np.float64],
) -> None:
    """Add an event to the readings of its module, and its gas to its own and its neighbours' sensors.

    Args:
        one: the event.
        values: readings, changed in place, [steps, modules, 13].
        ts: event times of the steps, ms, [steps].
        beside: the other modules of the rack, which share its air, [n]; none for a cell on a bench.
        share: share of the gas that reaches each of them, [n].
    """
    since = np.flatnonzero(ts >= one.onset_ms)
    if not since.size:
        return
    at = (ts[since] - one.onset_ms) / one.grid_ms
    beyond_s = np.maximum(ts[since] - one.end_ms, 0) / 1000
    grid = np.arange(len(one.mean_c))

    def course(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(at, grid, of)

    cooled, cleared = np.exp(-beyond_s / _COOLING_S), np.exp(-beyond_s / _CLEARING_S)
    mine = values[:, one.module]
    for column, of in ((AVG, one.mean_c), (MAX, one.hot_c), (HOT_CELL, one.hot_c), (COLD_CELL, one.cold_c)):
        mine[since, column] += course(of) * cooled
    for column, of in ((VOLTAGE, one.volt_v), (LOW_CELL_V, one.low_v), (HIGH_CELL_V, one.high_v)):
        mine[since, column] += course(of)
    if one.no_return_ms is not None:
        after_s = np.maximum(ts[since] - one.no_return_ms, 0) / 1000
        mine[since, CURRENT] *= np.exp(-after_s / 30)
    for i in range(3):
        mine[since, GAS.start + i] += course(one.own_ppm[:, i]) * cleared
        shared = course(one.rack_ppm[:, i]) * cleared
        values[since[:, None], beside, GAS.start + i] += shared[:, None] * share
