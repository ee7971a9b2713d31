"""Finds when a fault first shows at a module's sensors, and makes the ground truth (`Fault`) of an event."""

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.events.faults import World
from pipelines.battery_hazard.simulator.events.ground_truth import Fault

_TOLERANCE = np.array([1.0, 1.5, 0.01, 10.0])
"""Normal difference between modules: mean and hottest temperature (C), voltage of a cell (V), gas (ppm)."""
_CELL_V = 0.03
"""Normal difference of a module's lowest and highest cell voltage from those of another, and their noise."""


def truth(one: Event, world: World) -> Fault:
    """Ground truth of an event that runs away.

    Raises:
        ValueError: the event never runs away.
    """
    if one.no_return_ms is None:
        raise ValueError(f"{one.mechanism} at {one.module} never runs away")
    temperature, voltage, gas = world.noise
    limits = 3 * np.array([temperature, temperature, voltage, gas]) + _TOLERANCE * [1, 1, world.build.series, 1]
    off = np.stack(
        [
            np.abs(one.mean_c) > limits[0],
            np.abs(one.hot_c) > limits[1],
            np.abs(one.volt_v) > limits[2],
            (one.own_ppm > limits[3]).any(axis=1) & (not world.build.bench),
            (np.abs(one.low_v) > _CELL_V) | (np.abs(one.high_v) > _CELL_V),
        ]
    )
    last = min(-(-(one.no_return_ms - one.onset_ms) // one.grid_ms), len(one.mean_c) - 1)

    def first_sign(seen: NDArray[np.bool_]) -> int:
        quiet = np.flatnonzero(~seen[: last + 1])
        since = int(quiet[-1]) + 1 if quiet.size else 0
        return min(one.onset_ms + since * one.grid_ms, one.no_return_ms or 0)

    thermal = min(first_sign(off[i]) for i in range(3))
    return Fault(
        one.module,
        one.mechanism,
        one.onset_ms,
        min(thermal, first_sign(off[3])),
        thermal,
        one.no_return_ms,
        first_sign_cell_ts=min(thermal, first_sign(off[4])),
        vents_early=one.vent_ms is not None and one.vent_ms <= one.no_return_ms - 60_000,
        cooled_ts=_cooled_ts(one),
    )


def _cooled_ts(one: Event) -> int | None:
    """When the hottest thermometer is back below a quarter of its highest rise."""
    warm = int(np.flatnonzero(one.hot_c >= one.hot_c.max() / 4)[-1])
    return None if warm + 1 >= len(one.hot_c) else one.onset_ms + (warm + 1) * one.grid_ms
