"""Normal operation of modules: voltage, temperature and state of charge under the load of their rack."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from common.times import HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.physics.cell import (
    Cell,
    Float,
    open_circuit_voltage_v,
    resistance_factor,
    reversible_heat_w,
)
from pipelines.battery_hazard.simulator.plant.site import Minutes

CHARGED_MS, _CHARGED_C = 2 * HOUR_MS, 0.7
_RIPPLE_TAU_S = 40.0
_SQUARE_LIMITS = 20.0, 85.0


@dataclass(frozen=True)
class Override:
    """A module charged apart from its rack: a charger that does not stop, or a test bench's program.

    Attributes:
        c_rate: charging rate from `start_ms` to `end_ms` (1/h); 0 afterwards.
        swing: whether the direction reverses at 20 and 85 %.
        soc_percent: state of charge at `start_ms`.
    """

    module: int
    start_ms: int
    end_ms: int
    c_rate: float
    swing: bool
    soc_percent: float

    def course(self, ts_ms: NDArray[np.int64]) -> tuple[Float, Float]:
        """Charging rate and state of charge at each `ts_ms`."""
        spent = np.clip(ts_ms - self.start_ms, 0, self.end_ms - self.start_ms) / HOUR_MS
        active = (ts_ms >= self.start_ms) & (ts_ms < self.end_ms)
        if not self.swing:
            return np.where(active, self.c_rate, 0.0), np.clip(self.soc_percent + 100 * self.c_rate * spent, 0, 100)
        low, high = _SQUARE_LIMITS
        # The state of charge is a triangle wave between the limits.
        way = (np.clip(self.soc_percent, low, high) - low + 100 * abs(self.c_rate) * spent) % (2 * (high - low))
        up = way < high - low
        c_rate = np.where(active, np.where(up, 1.0, -1.0) * abs(self.c_rate), 0.0)
        return c_rate, low + np.where(up, way, 2 * (high - low) - way)


def charged_before(module: int, onset: int, from_percent: float, to_percent: float) -> Override:
    """A charge or discharge of a module that ends before `onset`; it rests then."""
    start, change = onset - CHARGED_MS, to_percent - from_percent
    length = round(abs(change) / 100 / _CHARGED_C * 60) * MINUTE_MS
    rate = float(np.sign(change)) * _CHARGED_C
    return Override(module, start, start + length, rate, swing=False, soc_percent=from_percent)


@dataclass(frozen=True)
class Traits:
    """How modules differ, arrays [modules].

    Attributes:
        rack: index of the rack.
        health: share of the nominal capacity that ageing has left; scales the current at a C-rate, too.
        capacity: ratio to the rack's mean capacity.
        resistance: ratio to a new cell's resistance.
        thermal_tau_s: heat capacity divided by the conductance to the air.
        offset_c: offset of the mean temperature sensor (calibration, place in the rack).
        spread_c: how much the hottest thermistor is above the mean at rest.
        soc_bias: error of the battery management system's state of charge, percent.
        ripple: strength of frequency regulation (1/h).
        imbalance: how far the state of charge of the emptiest and of the fullest cell is from the mean, percent.
        unequal: how far the highest and the lowest resistance of a cell are from the mean, ratio.
        cold_c: how much the coldest cell is below the mean at rest.
    """

    rack: NDArray[np.int64]
    health: Float
    capacity: Float
    resistance: Float
    thermal_tau_s: Float
    offset_c: Float
    spread_c: Float
    soc_bias: Float
    ripple: Float
    imbalance: Float
    unequal: Float
    cold_c: Float

    def of(self, modules: NDArray[np.int64]) -> "Traits":
        """The traits of some modules."""
        return Traits(*(getattr(self, name)[modules] for name in self.__dataclass_fields__))


def draw_traits(rack: NDArray[np.int64], cell: Cell, rng: np.random.Generator, *, bench: bool) -> Traits:
    """Draw the traits of modules. The modules of a rack have the same age, and differ a little in the rest."""
    modules, racks = len(rack), int(rack.max()) + 1
    age = rng.uniform(0, 1, racks)[rack]
    # A free cell loses heat by convection and radiation, 13 W/m2K together; the cells of a module lose it by cooling.
    tau = cell.heat_capacity_j_k / (13.0 * cell.area_m2) if bench else 1800.0
    on = rng.random(racks) < (0.0 if bench else 0.6)
    return Traits(
        rack,
        1 - 0.2 * age,
        rng.normal(1, 0.015, modules),
        (1 + 0.6 * age) * rng.normal(1, 0.08, modules).clip(0.75, 1.4),
        tau * rng.normal(1, 0.12, modules).clip(0.65, 1.5),
        rng.normal(0.3, 0.4, modules),
        rng.uniform(0.5, 2.5, modules),
        rng.normal(0, 0.7, modules),
        (on * rng.lognormal(np.log(0.04), 0.6, racks).clip(0, 0.15))[rack],
        rng.lognormal(np.log(0.5), 0.6, modules).clip(0.1, 3),
        rng.uniform(0.01, 0.06, modules),
        rng.uniform(0.3, 2, modules),
    )


@dataclass(frozen=True)
class Operation:
    """Arrays [times, modules]: C-rate, state of charge, air, voltage and mean temperature of cells, heat in each."""

    c_rate: Float
    soc_percent: Float
    air_c: Float
    cell_v: Float
    temp_c: Float
    heat_w: Float


class Modules:
    """Electro-thermal model of modules. It runs through blocks of time and keeps its state between them."""

    def __init__(self, cell: Cell, traits: Traits, period_ms: int, overrides: list[Override]) -> None:
        """Prepare the first block. `overrides` name modules by their row in `traits`."""
        self._cell, self._traits, self._period_ms, self._overrides = cell, traits, period_ms, overrides
        self._temp: Float | None = None
        self._ripple = np.zeros((2, len(traits.rack)))

    def at_period(self, period_ms: int) -> "Modules":
        """The same modules at their current temperature, for steps of another period."""
        again = Modules(self._cell, self._traits, period_ms, self._overrides)
        again._temp = self._temp
        return again

    def run(self, ts_ms: NDArray[np.int64], minutes: Minutes, rng: np.random.Generator | None) -> Operation:
        """Operate at the times `ts_ms` [t], a period apart and following the last call's. `rng`: of grid services."""
        traits = self._traits
        at = (ts_ms - minutes.first_ms) / MINUTE_MS
        low = at.astype(np.int64)
        part = (at - low)[:, None]
        c_rate = minutes.c_rate[low][:, traits.rack] * traits.health
        air = ((1 - part) * minutes.air_c[low] + part * minutes.air_c[low + 1])[:, traits.rack]
        rack_soc = (1 - part) * minutes.soc_percent[low] + part * minutes.soc_percent[low + 1]
        soc = 50 + (rack_soc[:, traits.rack] - 50) / traits.capacity
        if rng is not None and traits.ripple.any():
            ripple = self._grid_services(len(ts_ms), rng)
            c_rate = c_rate + ripple
        for one in self._overrides:
            touched = ts_ms >= one.start_ms
            if touched.any():
                c_rate[touched, one.module], soc[touched, one.module] = one.course(ts_ms[touched])
        np.clip(soc, 0, 100, out=soc)
        current = c_rate * self._cell.capacity_ah
        ohm = self._cell.resistance_ohm * traits.resistance
        decay = np.exp(-self._period_ms / 1000 / traits.thermal_tau_s)
        gain = traits.thermal_tau_s / self._cell.heat_capacity_j_k
        if self._temp is None:
            self._temp = air[0] + gain * ohm * current[0] ** 2
        temp = air
        for _ in range(2):  # resistance and temperature depend on each other
            factor = resistance_factor(soc, temp)
            heat = ohm * factor * current**2 + reversible_heat_w(current, soc, temp)
            temp = _relax(self._temp, air + gain * heat, decay)
        volt = open_circuit_voltage_v(soc, self._cell.chemistry) + current * ohm * factor
        self._temp = temp[-1].copy()
        return Operation(c_rate, soc, air, volt, temp, heat)

    def _grid_services(self, times: int, rng: np.random.Generator) -> Float:
        """Ripple of the current, [times, modules]. The difference of a smooth random signal, so it sums to zero."""
        traits = self._traits
        racks = np.unique(traits.rack)
        step_s = self._period_ms / 1000
        keep = np.exp(-step_s / _RIPPLE_TAU_S)
        of_rack = np.searchsorted(racks, traits.rack)
        first = np.unique(of_rack, return_index=True)[1]
        noise = rng.standard_normal((times, len(racks))) * np.sqrt(1 - keep**2)
        fast, _ = lfilter([1.0], [1.0, -keep], noise, axis=0, zi=keep * self._ripple[0][first][None])
        slow, _ = lfilter([1 - keep], [1.0, -keep], fast, axis=0, zi=keep * self._ripple[1][first][None])
        before = np.concatenate([self._ripple[1][first][None], slow[:-1]])
        self._ripple = np.stack([fast[-1][of_rack], slow[-1][of_rack]])
        return np.asarray((2 * (slow - before) * max(1.0, _RIPPLE_TAU_S / step_s))[:, of_rack] * traits.ripple)


def _relax(start: Float, target: Float, decay: Float) -> Float:
    """First-order approach [t, m] to a moving target from `start` [m]; `decay` [m] is the part left after a step."""
    out = np.empty_like(target)
    level = start
    gained = target * (1 - decay)
    for k in range(len(target)):
        level = level * decay + gained[k]
        out[k] = level
    return out
