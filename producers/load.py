"""How healthy racks are used: one day of current, state of charge and self-heating, as tables to look up.

The tables are periodic with the day, so that what a rack does is a function of time alone: any step of any
run can be computed without the ones before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOT_MS = 10_000
DAY_SLOTS = 86_400_000 // SLOT_MS
HEATING_TAU_S = 1500.0
"""Thermal time constant of a module in still rack air, the order of (mass x heat capacity) / (area x h)."""
RISE_PER_C2_C = 7.0
"""Steady temperature rise at 1 C, degrees; it grows with the square of the current (Joule heat)."""

# Open-circuit voltage of an NMC/graphite cell over state of charge, rest values as usually tabulated.
_OCV_SOC_PERCENT = np.array([0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], dtype=np.float64)
_OCV_V = np.array([3.00, 3.33, 3.44, 3.53, 3.59, 3.63, 3.68, 3.77, 3.87, 3.98, 4.08, 4.19])


def open_circuit_voltage_v(soc_percent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rest voltage of one cell, volts, in the shape of `soc_percent` (0 to 100)."""
    volts: NDArray[np.float64] = np.interp(soc_percent, _OCV_SOC_PERCENT, _OCV_V)
    return volts


@dataclass(frozen=True)
class DayTables:
    """One day of each rack in slots of 10 s: arrays [racks, 8640].

    Attributes:
        c_rate: current over capacity, 1/h, positive while charging.
        soc_percent: state of charge, within 0 to 100.
        rise_c: temperature above ambient of a module of average cooling, degrees Celsius.
    """

    c_rate: NDArray[np.float32]
    soc_percent: NDArray[np.float32]
    rise_c: NDArray[np.float32]


def _day_of_one_rack(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """C-rate in each slot, summing to zero over the day, and the state of charge at its first slot."""
    # A few racks work hard (fast charging, up to 2 C), most gently: both are normal operation.
    usual_c = float(np.clip(rng.lognormal(np.log(0.45), 0.7), 0.1, 1.6))
    c_rate = np.zeros(DAY_SLOTS)
    hours_a_slot = SLOT_MS / 3_600_000
    home = here = float(rng.uniform(25, 80))
    slot = int(rng.integers(0, 360))
    closing = DAY_SLOTS - 5 * 360
    while slot < closing:
        target = float(rng.uniform(50, 92) if here < 50 else rng.uniform(12, 50))
        rate = float(np.clip(usual_c * rng.lognormal(0, 0.3), 0.05, 2.0))
        slots = max(1, round(abs(target - here) / 100 / rate / hours_a_slot))
        end = min(slot + slots, closing)
        c_rate[slot:end] = np.sign(target - here) * rate
        here += float(c_rate[slot:end].sum()) * hours_a_slot * 100
        slot = end + int(rng.integers(30, 540))
    # Home again by midnight at whatever gentle rate that takes.
    c_rate[closing:] = (home - here) / 100 / ((DAY_SLOTS - closing) * hours_a_slot)
    # Grid services ride on top: a ripple that holds for half a minute and sums to nothing over four.
    ripple = rng.normal(0, 0.06 * usual_c, DAY_SLOTS // 24)
    c_rate += np.repeat(np.stack([ripple, -ripple], axis=1).ravel(), 12) * (c_rate != 0)
    return c_rate - c_rate.mean(), home


def day_tables(racks: int, rng: np.random.Generator) -> DayTables:
    """Draw one day for each of `racks` racks."""
    days = [_day_of_one_rack(rng) for _ in range(racks)]
    c_rate = np.stack([day for day, _ in days])
    first = np.array([home for _, home in days])[:, None]
    soc = np.clip(first + np.cumsum(c_rate, axis=1) * (SLOT_MS / 36_000), 0, 100)
    decay = np.exp(-SLOT_MS / 1000 / HEATING_TAU_S)
    heating = RISE_PER_C2_C * c_rate**2 * (1 - decay)
    rise = np.zeros_like(c_rate)
    level = np.zeros(racks)
    # Twice round the day, so that it starts as warm as it ends.
    for slot in (*range(DAY_SLOTS), *range(DAY_SLOTS)):
        level = level * decay + heating[:, slot]
        rise[:, slot] = level
    return DayTables(c_rate.astype(np.float32), soc.astype(np.float32), rise.astype(np.float32))
