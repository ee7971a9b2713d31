"""Which cells of a module have its lowest and highest voltage and temperature, as a battery management system says."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.event import Event

CELL_INDICES = ("min_cell_voltage_index", "max_cell_voltage_index", "min_cell_temp_index", "max_cell_temp_index")
"""Fields of the record, in the order of the last four of `SENSORS`."""
_LOW_V, _HOT_C = -0.02, 1.0
"""From this difference on, the cell with the event is the lowest or the hottest."""


def usual_cells(modules: int, series: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The cells in normal operation, [modules, 4]: cells differ, so it is mostly the same ones."""
    return np.asarray(rng.integers(0, series, (modules, 4)))


def with_events(usual: NDArray[np.int64], ts: NDArray[np.int64], events: Iterable[Event]) -> NDArray[np.int64]:
    """The cells at a moment (ms, [modules]), [modules, 4]."""
    cells = usual.copy()
    for one in events:
        at = (int(ts[one.module]) - one.onset_ms) // one.grid_ms
        if one.group is None or at < 0:
            continue
        at = min(at, len(one.low_v) - 1)
        if one.low_v[at] < _LOW_V:
            cells[one.module, 0] = one.group
        if one.hot_c[at] > _HOT_C:
            cells[one.module, 3] = one.group
    return cells
