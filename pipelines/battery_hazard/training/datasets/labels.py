"""Labels of readings, relative to the point of no return."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.arrays import Int
from common.times import HOUR_MS
from pipelines.battery_hazard.simulator.events.ground_truth import Fault, Nuisance

HAZARD, NORMAL, LEFT_OUT = 1, 0, -1
Label = NDArray[np.int8]

WARNING_MS = 20 * 60_000
"""A reading is hazardous from 20 minutes before the point of no return, if the fault shows by then."""
AFTERMATH_MS = 10 * 60_000
"""A burning module is still a hazard: readings are positive for this long after the point of no return."""
SMOKE_MS = 2 * HOUR_MS
"""For this long after a fire its rack is full of smoke, and readings of the other modules have no label."""


def first_sign(fault: Fault, *, gas: bool, cells: bool = False) -> int:
    """When the fault first shows at the sensors that the module has, ms.

    Args:
        fault: a fault.
        gas: whether the module has gas sensors.
        cells: whether the highest and lowest voltage of its cells are measured.
    """
    sign = fault.first_sign_ts if gas else fault.first_sign_tv_ts
    return sign if not cells or fault.first_sign_cell_ts is None else min(sign, fault.first_sign_cell_ts)


def labels(
    ts: Int,
    fault: Fault | None,
    *,
    gas: bool,
    cells: bool = False,
    beside: Sequence[Fault] = (),
    warmed: Sequence[Nuisance] = (),
) -> Label:
    """Label the readings of one module, shape [n].

    HAZARD: from 20 minutes before the point of no return, or from the first sign of the fault if that is later, until
    10 minutes after the point of no return, or until the wreck has cooled if that is earlier. Before the first sign, a
    model could only learn noise. LEFT_OUT: readings for which either prediction is acceptable, that is, the fault
    before that time, the wreck afterwards, and neighbours in the heat and smoke of a fire. NORMAL: all else, including
    events that look like a hazard but are none, such as a sudden short whose heat decays.

    Args:
        ts: event time, ms, shape [n].
        fault: fault of this module; None: it has none.
        gas: whether the module has gas sensors, which may show the fault first.
        cells: whether its lowest and highest cell voltages are measured, which may show it first, too.
        beside: faults of the other modules in its rack.
        warmed: nuisances of the kind `neighbour_heat` at this module.
    """
    label = np.full(len(ts), NORMAL, np.int8)
    for other in beside:
        label[(ts >= other.first_sign_ts) & (ts < other.no_return_ts + SMOKE_MS)] = LEFT_OUT
    for heat in warmed:
        label[(ts >= heat.start_ts) & (ts < heat.end_ts + SMOKE_MS)] = LEFT_OUT
    if fault is not None:
        label[ts >= fault.onset_ts] = LEFT_OUT
        begin = max(first_sign(fault, gas=gas, cells=cells), fault.no_return_ts - WARNING_MS)
        end = min(fault.no_return_ts + AFTERMATH_MS, fault.cooled_ts or fault.no_return_ts + AFTERMATH_MS)
        label[(ts >= begin) & (ts < end)] = HAZARD
    return label
