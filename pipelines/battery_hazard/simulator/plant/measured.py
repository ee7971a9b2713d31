"""What perfect sensors would read of modules in normal operation."""

import numpy as np

from pipelines.battery_hazard.simulator.physics.cell import Float, open_circuit_voltage_v
from pipelines.battery_hazard.simulator.plant.normal import Operation, Traits
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

_SPREAD_GROWS = 0.08
"""Growth of a module's spread of temperature with its difference from the air."""


def measured(done: Operation, traits: Traits, series: int, capacity_ah: float, gas_ppm: Float, chemistry: str) -> Float:
    """Readings without noise, [times, modules, 13].

    Args:
        done: operation of the modules.
        traits: of the modules.
        series: cells in series; with 1, there is neither a coldest nor a lowest cell beside the hottest and highest.
        capacity_ah: capacity of a module.
        gas_ppm: readings of the gas sensors in clean air, [times, modules, 3].
        chemistry: of the cells, see `cell.CHEMISTRIES`.
    """
    values = np.empty((*done.c_rate.shape, COUNT))
    values[..., AVG] = done.temp_c + traits.offset_c
    values[..., VOLTAGE] = done.cell_v * series
    values[..., CURRENT] = done.c_rate * capacity_ah
    values[..., SOC] = done.soc_percent + traits.soc_bias
    values[..., GAS] = gas_ppm
    values[..., AMBIENT] = done.air_c
    if series == 1:
        values[..., MAX] = values[..., HOT_CELL] = values[..., COLD_CELL] = values[..., AVG]
        values[..., LOW_CELL_V] = values[..., HIGH_CELL_V] = done.cell_v
        return values
    warmer = _SPREAD_GROWS * np.abs(done.temp_c - done.air_c)
    values[..., MAX] = values[..., AVG] + traits.spread_c + warmer
    values[..., HOT_CELL] = values[..., MAX]
    values[..., COLD_CELL] = values[..., AVG] - traits.cold_c - warmer
    rest_v = open_circuit_voltage_v(done.soc_percent, chemistry)
    uneven_v = traits.unequal * np.abs(done.cell_v - rest_v)
    low_v = rest_v - open_circuit_voltage_v(done.soc_percent - traits.imbalance, chemistry)
    high_v = open_circuit_voltage_v(done.soc_percent + traits.imbalance, chemistry) - rest_v
    values[..., LOW_CELL_V] = done.cell_v - low_v - uneven_v
    values[..., HIGH_CELL_V] = done.cell_v + high_v + uneven_v
    return values
