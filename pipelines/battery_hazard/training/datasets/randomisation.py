"""Domain randomisation: changes readings as if other instruments had taken them, so that a model learns no artefact.

Noise, resolution, calibration, clean-air baseline and refresh rate differ between sites, and from the simulator. A
model that sees them vary widely cannot rely on them.
"""

import numpy as np

from common.arrays import Float
from pipelines.battery_hazard.simulator.plant.sensing import AMBIENT, AVG, CURRENT, GAS, MAX, SOC, VOLTAGE

# Upper limits of noise, resolution and calibration error, in the sensor's unit (voltage per cell, current as C-rate).
_NOISE = np.array([0.5, 0.5, 0.006, 0.01, 0.5, 8.0, 8.0, 12.0, 0.5])
_DIGIT = np.array([1.0, 1.0, 0.01, 0.01, 1.0, 5.0, 5.0, 10.0, 1.0])
_OFFSET = np.array([2.0, 2.0, 0.015, 0.01, 5.0, 20.0, 20.0, 30.0, 2.5])
_FINEST = 1e-3
_HELD_SHARE = 0.15
_LONGEST_HELD = 6
_GAS_GAIN = (0.5, 1.5)
_CURRENT_GAIN = (0.85, 1.15)
_MIDDLE_V, _CELL_GAIN, _CELL_OFFSET_V = 3.7, 0.1, 0.05
"""Cells of other makes have other voltages when full and empty."""


def randomised(values: Float, rng: np.random.Generator, *, bench: bool) -> Float:
    """Readings of one module as another site's instruments would show them.

    Args:
        values: [n, 9] in the order of `simulator.plant.sensing.SENSORS`, voltage per cell and current as C-rate, NaN
            where missing.
        rng: draws the instruments.
        bench: whether it is a single cell, which may be of any make.

    Returns:
        A changed copy. Missing values stay missing.
    """
    values = values.copy()
    # The thermometers of a module are alike: most of their error is common, and they differ little.
    offset = rng.uniform(-1, 1, 9) * _OFFSET
    offset[MAX] = offset[AVG] + 0.3 * offset[MAX]
    values += offset
    if bench:
        stretched = (values[:, VOLTAGE] - _MIDDLE_V) * (1 + rng.uniform(-_CELL_GAIN, _CELL_GAIN))
        values[:, VOLTAGE] = _MIDDLE_V + stretched + rng.uniform(-_CELL_OFFSET_V, _CELL_OFFSET_V)
    values[:, GAS] *= rng.uniform(*_GAS_GAIN, 3)
    values[:, CURRENT] *= rng.uniform(*_CURRENT_GAIN)
    values += rng.standard_normal(values.shape) * _NOISE * _FINEST ** rng.random(9)
    if rng.random() < _HELD_SHARE:
        # A battery management system that refreshes its temperatures less often than it reports.
        every = int(rng.integers(2, _LONGEST_HELD + 1))
        columns = [AVG, MAX, AMBIENT]
        kept = np.arange(len(values)) // every * every
        values[:, columns] = values[kept][:, columns]
    digit = _DIGIT * _FINEST ** rng.random(9)
    values = np.rint(values / digit) * digit
    values[:, GAS] = np.maximum(values[:, GAS], 0)
    values[:, VOLTAGE] = np.maximum(values[:, VOLTAGE], 0)
    values[:, SOC] = np.clip(values[:, SOC], 0, 100)
    return np.asarray(values)
