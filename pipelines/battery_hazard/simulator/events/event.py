"""An event: how a fault, or a short that does not run away, changes the readings of its module and of its rack."""

from dataclasses import dataclass

import numpy as np

from pipelines.battery_hazard.simulator.events.mechanisms import Causes
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.course import GRID_S, Courses
from pipelines.battery_hazard.simulator.plant.gas import sensed_ppm

GRID_MS = round(GRID_S * 1000)
AFTER_S = 2400.0
"""How long after the point of no return a course is computed."""


@dataclass(frozen=True)
class Event:
    """How a fault or a short that does not run away changes the readings.

    Arrays have one value each `grid_ms` from the onset: differences from normal operation unless said otherwise.

    Attributes:
        no_return_ms: point of no return; None if the module never runs away.
        vent_ms: when the first cell vents; None if none does.
        mean_c, hot_c, cold_c: added to the module's mean, hottest and coldest temperature, [k].
        volt_v, low_v, high_v: added to the voltage of the module, and to the lowest and highest of a cell, [k].
        own_ppm, rack_ppm: CO, H2, VOC added to the sensors of the module, and of the others in its rack, [k, 3].
        side_c: absolute temperature of the side that faces the next module, [k].
        group: the group of cells that is the hottest and has the lowest voltage, if the event is in one.
        grid_ms: time between two values.
    """

    module: int
    mechanism: str
    onset_ms: int
    no_return_ms: int | None
    vent_ms: int | None
    mean_c: Float
    hot_c: Float
    cold_c: Float
    volt_v: Float
    low_v: Float
    high_v: Float
    own_ppm: Float
    rack_ppm: Float
    side_c: Float
    group: int | None = None
    grid_ms: int = GRID_MS

    @property
    def end_ms(self) -> int:
        """When the computed course ends."""
        return self.onset_ms + (len(self.mean_c) - 1) * self.grid_ms


def event(courses: Courses, i: int, causes: Causes, row: int, onset: int, usual_c: Float, parallel: int) -> Event:
    """Make an event from row `i` of the module model's courses and row `row` of `causes`."""
    k = courses.mean_c.shape[1]
    if np.isfinite(courses.no_return_s[i]):
        k = min(k, int((courses.no_return_s[i] + AFTER_S) / GRID_S))
    normal = np.interp(np.arange(k) * GRID_S, np.arange(len(usual_c)) * 60.0, usual_c)
    own, rack = sensed_ppm(courses.gas_mol[i, :k].astype(np.float64))

    def ms(seconds: float) -> int | None:
        return int(onset + seconds * 1000) if np.isfinite(seconds) else None

    return Event(
        int(causes.module[row]),
        causes.mechanism[row],
        onset,
        ms(courses.no_return_s[i]),
        ms(courses.vent_s[i]),
        courses.mean_c[i, :k] - normal,
        courses.hot_c[i, :k] - normal,
        courses.cold_c[i, :k] - normal,
        courses.volt_v[i, :k],
        courses.low_v[i, :k],
        courses.high_v[i, :k],
        own,
        rack,
        courses.side_c[i, :k],
        _group(causes, row, parallel),
    )


def _group(causes: Causes, row: int, parallel: int) -> int | None:
    """The group with the short, or the first if something hot is beside the module; None: all are alike."""
    if np.isfinite(causes.ohm[row]):
        return int(causes.weak[row]) // parallel
    beside = causes.wall_w_k[row, 0] > causes.wall_w_k[row, -1]
    return 0 if beside else None
