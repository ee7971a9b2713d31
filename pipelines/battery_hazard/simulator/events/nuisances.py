"""Nuisances, which look like a hazard but are none: draws them for a fleet, and adds them to its readings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import DAY_MS, HOUR_MS
from pipelines.battery_hazard.simulator.events.ground_truth import NUISANCES, Nuisance
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.plant.sensing import MAX, SENSORS, VOLTAGE
from pipelines.battery_hazard.simulator.plant.site import Forced

OF_RACKS = {"hvac_failure", "hot_day", "fast_charge", "truck_co", "solvent_voc", "lead_acid_h2"}
OF_CELLS = {
    "soft_short",
    "decaying_short",
    "sensor_step",
    "sensor_drift",
    "sensor_stuck",
    "sensor_spikes",
    "sensor_noise",
}
"""Kinds that can happen to a single cell on a test bench."""
SHORTS = {"soft_short", "decaying_short"}
"""Kinds whose physics is computed, as that of faults."""
_GASES = {"truck_co": (5, 60, 500), "solvent_voc": (7, 150, 4000), "lead_acid_h2": (6, 80, 1500)}
"""Column, lowest and highest strength (ppm)."""
_SCALE = np.array([8.0, 8.0, 1.5, 20.0, 15.0, 120.0, 250.0, 400.0, 8.0, 0.1, 0.1, 8.0, 8.0])
"""Order of magnitude of a broken sensor's error, in the unit of each sensor."""
_HOURS = {
    "hvac_failure": (1, 6),
    "hot_day": (8, 14),
    "fast_charge": (0.3, 0.9),
    "truck_co": (0.1, 0.6),
    "solvent_voc": (0.2, 1.5),
    "lead_acid_h2": (1, 5),
    "sensor_step": (0.5, 8),
    "sensor_drift": (2, 12),
    "sensor_stuck": (0.2, 6),
    "sensor_spikes": (0.2, 3),
    "sensor_noise": (0.1, 2),
    "maintenance": (0.2, 2),
    "soc_recalibration": (0.1, 0.1),
    "soft_short": (6, 6),
    "decaying_short": (0.5, 0.5),
}


@dataclass(frozen=True)
class Disturbance:
    """A nuisance as it is added to readings.

    Attributes:
        modules: rows of the modules.
        column: the sensor, for kinds that change only one.
        size: strength in the sensor's unit, with sign.
        share: share of it that each module sees, [modules].
    """

    kind: str
    start_ms: int
    end_ms: int
    modules: NDArray[np.int64]
    column: int
    size: float
    share: Float
    seed: int


def draw_nuisances(
    rate: float, rack: NDArray[np.int64], start_ms: int, span_ms: int, rng: np.random.Generator, *, bench: bool
) -> list[Disturbance]:
    """Draw nuisances over a span, each kind equally often; `rate` is their number per module-day, all kinds together.

    A nuisance of a rack touches all its modules, so it is drawn less often by the number of modules in the rack.
    """
    kinds = [kind for kind in NUISANCES if not bench or kind in OF_CELLS]
    drawn = []
    for kind in kinds:
        size = 1 if bench or kind not in OF_RACKS else len(rack) / (rack.max() + 1)
        expected = rate * len(rack) * span_ms / DAY_MS / len(kinds) / size
        for _ in range(int(rng.poisson(expected))):
            module = int(rng.integers(0, len(rack)))
            touched = np.flatnonzero(rack == rack[module]) if kind in OF_RACKS else np.array([module])
            begin = int(start_ms + rng.uniform(-0.1, 1) * span_ms) // 60_000 * 60_000
            end = begin + round(rng.uniform(*_HOURS[kind]) * 60) * 60_000
            drawn.append(_draw(kind, begin, end, touched, rng, bench=bench))
    return sorted(drawn, key=lambda d: d.start_ms)


def _draw(
    kind: str, begin: int, end: int, touched: NDArray[np.int64], rng: np.random.Generator, *, bench: bool
) -> Disturbance:
    # A test bench with one thermometer shows it as the hottest.
    column = int(rng.integers(MAX, VOLTAGE + 1) if bench else rng.integers(0, len(SENSORS)))
    size = float(rng.uniform(0.5, 3) * rng.choice([-1, 1]))
    if kind in _GASES:
        column, low, high = _GASES[kind]
        size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    elif kind == "hot_day":
        size = float(rng.uniform(6, 14))
    elif kind == "fast_charge":
        size = float(rng.uniform(1.3, 2.0))
    elif kind == "soc_recalibration":
        column, size = 4, float(rng.uniform(2, 9) * rng.choice([-1, 1]))
    else:
        size *= float(_SCALE[column]) / (14 if bench and column == VOLTAGE else 1)
    share = rng.uniform(0.4, 1, len(touched))
    return Disturbance(kind, begin, end, touched, column, size, share, int(rng.integers(0, 2**62)))


def forced_by(drawn: list[Disturbance], rack: NDArray[np.int64]) -> list[Forced]:
    """Changes of a rack as a whole that nuisances cause."""
    made = []
    for one in drawn:
        where = int(rack[one.modules[0]])
        if one.kind == "hvac_failure":
            made.append(Forced(where, one.start_ms, one.end_ms, hvac_off=True))
        elif one.kind == "hot_day":
            made.append(Forced(where, one.start_ms, one.end_ms, warmer_c=one.size))
        elif one.kind == "fast_charge":
            # The rack is discharged first, so that the fast charge begins low.
            made.append(Forced(where, one.start_ms - 5_400_000, one.start_ms, c_rate=-0.6))
            made.append(Forced(where, one.start_ms, one.end_ms, c_rate=one.size))
    return made


def listed(drawn: list[Disturbance]) -> list[Nuisance]:
    """Ground truth of disturbances, one entry per module."""
    return [Nuisance(int(m), one.kind, one.start_ms, one.end_ms) for one in drawn for m in one.modules]


def disturb(values: Float, ts_ms: NDArray[np.int64], drawn: list[Disturbance]) -> None:
    """Add gas from elsewhere, broken sensors and maintenance to readings [t, modules, 13] in place, before noise.

    The values of a moment depend on that moment alone, so the division of time into blocks does not matter.
    """
    for one in drawn:
        inside = np.flatnonzero((ts_ms >= one.start_ms) & (ts_ms < one.end_ms))
        settled = np.flatnonzero(ts_ms >= one.end_ms)
        column = one.column
        if one.kind in _GASES:
            since, after = (ts_ms - one.start_ms) / 1000, np.maximum(ts_ms - one.end_ms, 0) / 1000
            rise = 1 - np.exp(-np.maximum(np.minimum(since, (one.end_ms - one.start_ms) / 1000), 0) / 200)
            values[:, one.modules, column] += (one.size * rise * np.exp(-after / 600))[:, None] * one.share
        elif one.kind == "soc_recalibration":
            values[settled[:, None], one.modules, column] += one.size * np.exp(
                -(ts_ms[settled, None] - one.end_ms) / (6 * HOUR_MS)
            )
        elif inside.size and one.kind == "maintenance":
            values[inside[:, None], one.modules] = np.nan
        elif inside.size and one.kind.startswith("sensor"):
            _break_sensor(values, ts_ms, inside, one)


def _break_sensor(values: Float, ts_ms: NDArray[np.int64], inside: NDArray[np.int64], one: Disturbance) -> None:
    at = np.ix_(inside, one.modules, np.array([one.column]))
    part = (ts_ms[inside] - one.start_ms) / (one.end_ms - one.start_ms)
    # Noise depends on the moment, not on the position in a block.
    moment = (ts_ms[inside] // 1000 * 2_654_435_761 + one.seed) % 2**31
    even = (moment * 1_103_515_245 + 12_345) % 2**31 / 2**31
    shift = np.zeros(len(inside))
    if one.kind == "sensor_step":
        shift[:] = one.size
    elif one.kind == "sensor_drift":
        shift = one.size * part
    elif one.kind == "sensor_noise":
        shift = one.size * (even * 2 - 1)
    elif one.kind == "sensor_spikes":
        shift = np.where(even < 0.05, one.size * 4, 0.0)
    values[at] += shift[:, None, None]


def stuck(values: Float, ts_ms: NDArray[np.int64], drawn: list[Disturbance], levels: dict[int, Float]) -> None:
    """Hold the first value of stuck sensors, after noise. `levels` keeps it for later blocks, by seed."""
    for one in drawn:
        inside = np.flatnonzero((ts_ms >= one.start_ms) & (ts_ms < one.end_ms))
        if one.kind == "sensor_stuck" and inside.size:
            level = levels.setdefault(one.seed, values[inside[0], one.modules, one.column].copy())
            values[inside[:, None], one.modules, one.column] = level
