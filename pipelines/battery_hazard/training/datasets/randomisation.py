"""Domain randomisation: changes readings as if other instruments had taken them, so that a model learns no artefact.

Noise, resolution, calibration, clean-air baseline and refresh rate differ between sites, and from the simulator. A
model that sees them vary widely cannot rely on them.
"""

import numpy as np

from common.arrays import Float, Int
from common.times import MINUTE_MS
from pipelines.battery_hazard.simulator.plant.sensing import (
    AMBIENT,
    AVG,
    COLD_CELL,
    COUNT,
    CURRENT,
    GAS,
    HIGH_CELL_V,
    HOT_CELL,
    LOW_CELL_V,
    MAX,
    SOC,
    VOLTAGE,
)

# Upper limits of noise, resolution and calibration error, in the sensor's unit (voltage per cell, current as C-rate).
_NOISE = np.array([0.5, 0.5, 0.006, 0.01, 0.5, 8.0, 8.0, 12.0, 0.5, 0.006, 0.006, 0.5, 0.5])
_DIGIT = np.array([1.0, 1.0, 0.01, 0.01, 1.0, 5.0, 5.0, 10.0, 1.0, 0.01, 0.01, 1.0, 1.0])
_OFFSET = np.array([2.0, 2.0, 0.015, 0.01, 5.0, 20.0, 20.0, 30.0, 2.5, 0.015, 0.015, 2.0, 2.0])
_FINEST = 1e-3
_HELD_SHARE = 0.15
_HELD_S = (2.0, 60.0)
_THERMOMETERS = [AVG, MAX, COLD_CELL, HOT_CELL]
_CELL_VOLTS = [LOW_CELL_V, HIGH_CELL_V]
_RANGE_ENDS_C, _PINNED_SHARE = (150.0, 125.0, 85.0), 0.3
"""Where thermometers end: they show this and no more."""
_LOST_SHARE, _ALL_LOST_SHARE, _LOST_BEFORE_MS, _LOST_AFTER_MS = 0.12, 0.4, 15 * MINUTE_MS, 5 * MINUTE_MS
_GAS_GAIN = (0.5, 1.5)
_CURRENT_GAIN = (0.85, 1.15)
_MIDDLE_V, _CELL_GAIN, _CELL_OFFSET_V = 3.7, 0.1, 0.05
"""Cells of other makes have other voltages when full and empty."""


def randomised(values: Float, rng: np.random.Generator, *, bench: bool, period_ms: int) -> Float:
    """Readings of one module as another site's instruments would show them.

    Args:
        values: [n, 13] in the order of `simulator.plant.sensing.SENSORS`, voltage per cell and current as C-rate, NaN
            where missing.
        rng: draws the instruments.
        bench: whether it is a single cell, which may be of any make.
        period_ms: time between two readings.

    Returns:
        A changed copy. Missing values stay missing.
    """
    values = values.copy()
    # The thermometers of a module are alike: most of their error is common, and they differ little.
    offset = rng.uniform(-1, 1, COUNT) * _OFFSET
    offset[_THERMOMETERS[1:]] = offset[AVG] + 0.3 * offset[_THERMOMETERS[1:]]
    offset[_CELL_VOLTS] = offset[VOLTAGE] + 0.3 * offset[_CELL_VOLTS]
    if bench:  # one cell, and most have one thermometer
        offset[_CELL_VOLTS], offset[_THERMOMETERS] = offset[VOLTAGE], offset[AVG]
    values += offset
    if bench:
        volts = [VOLTAGE, *_CELL_VOLTS]
        stretched = (values[:, volts] - _MIDDLE_V) * (1 + rng.uniform(-_CELL_GAIN, _CELL_GAIN))
        values[:, volts] = _MIDDLE_V + stretched + rng.uniform(-_CELL_OFFSET_V, _CELL_OFFSET_V)
    values[:, GAS] *= rng.uniform(*_GAS_GAIN, 3)
    values[:, CURRENT] *= rng.uniform(*_CURRENT_GAIN)
    values += rng.standard_normal(values.shape) * _NOISE * _FINEST ** rng.random(COUNT)
    if rng.random() < _HELD_SHARE:
        # A battery management system that refreshes its temperatures less often than it reports.
        every = max(2, round(float(np.exp(rng.uniform(*np.log(_HELD_S)))) * 1000 / period_ms))
        columns = [*_THERMOMETERS, AMBIENT]
        kept = np.arange(len(values)) // every * every
        values[:, columns] = values[kept][:, columns]
    if rng.random() < _PINNED_SHARE:
        values[:, _THERMOMETERS] = np.minimum(values[:, _THERMOMETERS], rng.choice(_RANGE_ENDS_C))
    digit = _DIGIT * _FINEST ** rng.random(COUNT)
    values = np.rint(values / digit) * digit
    values[:, GAS] = np.maximum(values[:, GAS], 0)
    values[:, [VOLTAGE, *_CELL_VOLTS]] = np.maximum(values[:, [VOLTAGE, *_CELL_VOLTS]], 0)
    values[:, SOC] = np.clip(values[:, SOC], 0, 100)
    return np.asarray(values)


def lose_thermometers(values: Float, ts: Int, rng: np.random.Generator, event_ms: int | None) -> None:
    """Let one or all thermometers of some modules fail for good, in place.

    Args:
        values: readings of one module, [n, 13].
        ts: their event times, ms, [n].
        rng: draws whether, which and when.
        event_ms: when the module's event becomes dangerous: thermometers fail shortly before it or in it. None: they
            fail at any time of healthy operation.
    """
    if not len(ts) or rng.random() >= _LOST_SHARE:
        return
    lost = _THERMOMETERS if rng.random() < _ALL_LOST_SHARE else [int(rng.choice(_THERMOMETERS))]
    low, high = (ts[0], ts[-1]) if event_ms is None else (event_ms - _LOST_BEFORE_MS, event_ms + _LOST_AFTER_MS)
    since = ts >= rng.uniform(low, high)
    for column in lost:
        values[since, column] = np.nan
