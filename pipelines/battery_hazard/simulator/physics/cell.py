"""One lithium cobalt oxide/graphite cell in normal use: size, rest voltage, resistance, reversible heat.

The fleet is of layered oxide (LCO) throughout. Neither this nor the abuse kinetics in `abuse.py` hold for LFP.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RHO_CP_J_M3K = 2.14e6
"""Heat capacity of a wound cell per volume (Hatchard 2001; Kim 2007)."""
GAS_CONSTANT = 8.314
KELVIN = 273.15
_EA_RESISTANCE_K = 25_000.0 / GAS_CONSTANT
_OHMIC_SHARE = 0.4
"""Share of the resistance that does not depend on temperature (the metals). With it, the resistance nearly doubles from
25 to 3 degrees C, as measured on 18650 cells."""

# Rest values of an LCO/graphite cell over state of charge, as usually tabulated, and the temperature coefficient of the
# rest voltage (order and sign after Viswanathan et al. 2010).
_SOC_PERCENT = np.array([0, 3, 6, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], dtype=np.float64)
_OCV_V = np.array([3.00, 3.30, 3.45, 3.58, 3.68, 3.73, 3.77, 3.81, 3.87, 3.94, 4.02, 4.10, 4.19])
_DU_DT_MV_K = np.array([-0.5, -0.45, -0.42, -0.38, -0.28, -0.2, -0.12, -0.05, 0.05, 0.0, -0.03, -0.02, 0.0])
_FINE = np.linspace(0.0, 100.0, 2001)
_OCV_FINE = np.interp(_FINE, _SOC_PERCENT, _OCV_V)
_ENTROPY_FINE = np.interp(_FINE, _SOC_PERCENT, _DU_DT_MV_K) / 1000
_RESISTANCE_FINE = 1 + 0.8 * np.exp(-_FINE / 7) + 0.15 * np.exp(-(100 - _FINE) / 5)


@dataclass(frozen=True)
class Cell:
    """A cell design.

    Attributes:
        capacity_ah: charge at 100 % state of charge, new.
        volume_m3: volume of the wound electrodes with their case.
        area_m2: outer surface.
        resistance_ohm: resistance to direct current over minutes, of a new cell at 25 degrees C, half charged.
        surface_tau_s: time constant by which the surface (and the thermistor on it) lags behind the core.
    """

    capacity_ah: float
    volume_m3: float
    area_m2: float
    resistance_ohm: float
    surface_tau_s: float

    @property
    def heat_capacity_j_k(self) -> float:
        """Joules that warm the cell by one degree."""
        return RHO_CP_J_M3K * self.volume_m3


CYLINDRICAL_18650 = Cell(2.6, 1.654e-5, 4.185e-3, 0.045, 15.0)
"""18 mm x 65 mm, the cell of the published oven tests."""


def cell_of(capacity_ah: float) -> Cell:
    """A cell of this capacity: a scaled 18650. From 10 Ah it is prismatic: lower resistance, longer surface lag."""
    scale = capacity_ah / CYLINDRICAL_18650.capacity_ah
    prismatic = capacity_ah >= 10
    return Cell(
        capacity_ah,
        CYLINDRICAL_18650.volume_m3 * scale,
        CYLINDRICAL_18650.area_m2 * scale ** (2 / 3),
        (0.06 if prismatic else 0.117) / capacity_ah,
        60.0 if prismatic else 15.0,
    )


def _at(soc_percent: Float) -> NDArray[np.intp]:
    index: NDArray[np.intp] = (np.clip(soc_percent, 0, 100) * 20 + 0.5).astype(np.intp)
    return index


def open_circuit_voltage_v(soc_percent: Float) -> Float:
    """Rest voltage of one cell, volts, in the shape of `soc_percent` (held at the ends outside 0 to 100)."""
    return np.asarray(_OCV_FINE[_at(soc_percent)])


def resistance_factor(soc_percent: Float, temp_c: Float) -> Float:
    """Ratio of the resistance to that at 25 degrees C and half charge. It is higher when empty, full or cold."""
    return np.asarray(_RESISTANCE_FINE[_at(soc_percent)] * warmth_factor(temp_c))


def warmth_factor(temp_c: Float) -> Float:
    """Ratio of the resistance to that at 25 degrees C."""
    return np.asarray(
        _OHMIC_SHARE + (1 - _OHMIC_SHARE) * np.exp(_EA_RESISTANCE_K * (1 / (temp_c + KELVIN) - 1 / 298.15))
    )


def reversible_heat_w(current_a: Float, soc_percent: Float, temp_c: Float) -> Float:
    """Entropic heat of one cell, watts: I T dU/dT, with the current positive while charging."""
    return np.asarray(current_a * (temp_c + KELVIN) * _ENTROPY_FINE[_at(soc_percent)])
