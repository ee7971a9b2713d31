"""Computes what gas sensors show of gas that leaves a module, in that module and in the others of its rack."""

import numpy as np
from scipy.signal import lfilter

from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.course import GRID_S

MODULE_AIR_M3 = 0.15
RACK_AIR_M3 = 2.5
_MOL_M3 = 41.0
_MODULE_EXCHANGE_S = 90.0
_RACK_EXCHANGE_S = 900.0
SENSOR_LAG_S = (300.0, 100.0, 50.0)
"""Response time of CO, H2 (catalytic) and VOC (photo-ionisation) sensors."""
SENSOR_RANGE_PPM = np.array([1000.0, 5000.0, 10_000.0])
"""Where CO, H2 and VOC sensors saturate."""


def _lagged(values: Float, tau_s: float) -> Float:
    keep = np.exp(-GRID_S / tau_s)
    return np.asarray(lfilter([1 - keep], [1.0, -keep], values, axis=0))


def sensed_ppm(freed_mol: Float) -> tuple[Float, Float]:
    """Readings of gas sensors, above their baseline and before they saturate.

    Args:
        freed_mol: CO, H2 and organic gases released so far, each `GRID_S`, [k, 3].

    Returns:
        Readings of the module's own sensors and of those in the rack's other modules, both [k, 3], ppm.
    """
    flow = np.diff(freed_mol, axis=0, prepend=freed_mol[:1]) / GRID_S
    module_mol = _lagged(flow, _MODULE_EXCHANGE_S) * _MODULE_EXCHANGE_S
    rack_mol = _lagged(module_mol / _MODULE_EXCHANGE_S, _RACK_EXCHANGE_S) * _RACK_EXCHANGE_S
    # The limit keeps a sensor far beyond its range from taking ever longer to recover.
    own = np.minimum(module_mol / (MODULE_AIR_M3 * _MOL_M3) * 1e6, 1e5)
    shared = np.minimum(rack_mol / (RACK_AIR_M3 * _MOL_M3) * 1e6, 1e5)
    lagged = [
        np.stack([_lagged(source[:, i], tau) for i, tau in enumerate(SENSOR_LAG_S)], axis=1)
        for source in (np.maximum(own, shared), shared)
    ]
    return lagged[0], lagged[1]
