"""One cell in normal use: size, rest voltage, resistance, reversible heat.

The fleet's modules are of layered oxide (LCO on graphite, declared as `nmc`). Cells on test benches may be of other
chemistries, for which the abuse kinetics in `abuse.py` do not hold.
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
# LFP and LTO (against a layered oxide): rest values of published curves.
_TABLES = {
    "nmc": (_SOC_PERCENT, _OCV_V),
    "lfp": (
        np.array([0, 2, 5, 10, 20, 30, 50, 70, 90, 97, 100.0]),
        np.array([2.60, 2.95, 3.10, 3.17, 3.22, 3.26, 3.29, 3.31, 3.33, 3.36, 3.45]),
    ),
    "lto": (np.array([0, 3, 10, 30, 50, 70, 90, 100.0]), np.array([1.80, 2.05, 2.15, 2.25, 2.32, 2.42, 2.56, 2.70])),
}
CHEMISTRIES = tuple(_TABLES)
_FINE = np.linspace(0.0, 100.0, 2001)
_OCV_FINE = {name: np.interp(_FINE, *table) for name, table in _TABLES.items()}
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
        chemistry: one of `CHEMISTRIES`.
    """

    capacity_ah: float
    volume_m3: float
    area_m2: float
    resistance_ohm: float
    surface_tau_s: float
    chemistry: str = "nmc"

    @property
    def heat_capacity_j_k(self) -> float:
        """Joules that warm the cell by one degree."""
        return RHO_CP_J_M3K * self.volume_m3


CYLINDRICAL_18650 = Cell(2.6, 1.654e-5, 4.185e-3, 0.045, 15.0)
"""18 mm x 65 mm, the cell of the published oven tests."""


def cell_of(capacity_ah: float, chemistry: str = "nmc") -> Cell:
    """A cell of this capacity: a scaled 18650. From 10 Ah it is prismatic: lower resistance, longer surface lag."""
    scale = capacity_ah / CYLINDRICAL_18650.capacity_ah
    prismatic = capacity_ah >= 10
    return Cell(
        capacity_ah,
        CYLINDRICAL_18650.volume_m3 * scale,
        CYLINDRICAL_18650.area_m2 * scale ** (2 / 3),
        (0.06 if prismatic else 0.117) / capacity_ah,
        60.0 if prismatic else 15.0,
        chemistry,
    )


def _at(soc_percent: Float) -> NDArray[np.intp]:
    index: NDArray[np.intp] = (np.clip(soc_percent, 0, 100) * 20 + 0.5).astype(np.intp)
    return index


def open_circuit_voltage_v(soc_percent: Float, chemistry: str = "nmc") -> Float:
    """Rest voltage of one cell, volts, in the shape of `soc_percent` (held at the ends outside 0 to 100)."""
    return np.asarray(_OCV_FINE[chemistry][_at(soc_percent)])


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
