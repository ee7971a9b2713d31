"""A fleet of battery modules, simulated as columns: one step gives the readings of all modules at once.

Everything but the faults' temperature is a function of time and seed, so a run gives the same readings however
it is cut into steps. The runaway is a lumped self-heating model (producers/runaway.py).

Example:
    >>> fleet = Fleet(modules=64, seed=7, faults=3, start_ms=1_750_000_000_000, span_ms=6 * 3_600_000)
    >>> for step in fleet.steps(2160):
    ...     step.ts, step.values        # [64] int64 ms, [64, 9] float64, NaN where missing
    >>> fleet.faults[0].module, fleet.faults[0].onset_ts, fleet.faults[0].no_return_ts
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.load import DAY_SLOTS, SLOT_MS, day_tables, open_circuit_voltage_v
from producers.runaway import Fault, Runaways, draw_runaways

MODULES_PER_RACK = 8
CELLS_IN_SERIES = 14
CAPACITY_AH = 100.0
"""14s2p of 50 Ah cells."""
SENSORS = (
    "avg_surface_temp_c",
    "max_surface_temp_c",
    "voltage_v",
    "current_a",
    "soc_percent",
    "offgas_co_ppm",
    "offgas_h2_ppm",
    "offgas_voc_ppm",
    "ambient_temp_c",
)
"""Order of the columns of `Step.values`: that of the record's fields."""

_NOISE = np.array([0.2, 0.2, 0.05, 0.1, 0.0, 5.0, 5.0, 5.0, 0.2])
"""Standard deviation of each sensor's noise. State of charge is computed by the management system: none."""
_MISSING_RATE = 0.0005
_BLOCK_MS = 3_600_000
_OUTAGES_PER_SENSOR_HOUR = 0.004
_OUTAGE_MEAN_MS = 240_000.0
_DAY_MS = DAY_SLOTS * SLOT_MS


@dataclass(frozen=True)
class Step:
    """Readings of all modules at one moment.

    Attributes:
        ts: [modules] int64, event time, milliseconds since the Unix epoch.
        values: [modules, 9] float64 in the order of `SENSORS`, NaN where a value is missing. A module whose
            sensors all died has NaN throughout: it has gone silent, nothing is to be published for it.
    """

    ts: NDArray[np.int64]
    values: NDArray[np.float64]


def rack_name(index: int) -> str:
    """Name of the rack at `index`, four in a row: RackA1 … RackA4, RackB1 … RackZ4, RackAA1 …."""
    row, number = divmod(index, 4)
    letters = ""
    row += 1
    while row:
        row, letter = divmod(row - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"Rack{letters}{number + 1}"


class Fleet:
    """Modules in racks of eight, with daily load, weather, noise, dropouts and developing faults.

    Attributes:
        module_ids: names, such as `RackA1_Module01`, in the order of the rows of a step.
        rack_ids: name of each module's rack, same order.
        faults: ground truth, known from the start, by time of onset (see `producers.runaway.Fault`).
        next_ms: event time of the next step.
    """

    def __init__(
        self,
        modules: int,
        seed: int,
        *,
        faults: int = 0,
        start_ms: int,
        span_ms: int = 6 * 3_600_000,
        period_ms: int = 10_000,
    ) -> None:
        """Draw a fleet.

        Args:
            modules: number of modules.
            seed: same seed and arguments, same readings.
            faults: how many modules (at most one fault each) develop a thermal runaway.
            start_ms: event time of the first step, ms since the Unix epoch.
            span_ms: event time over which the faults' points of no return are spread; those of a short span
                began before `start_ms`.
            period_ms: event time from one step to the next.

        Raises:
            ValueError: modules, span or period below 1, or more faults than modules.
        """
        if modules < 1 or span_ms < 1 or period_ms < 1 or not 0 <= faults <= modules:
            raise ValueError(f"modules={modules}, faults={faults}, span_ms={span_ms}, period_ms={period_ms}")
        self.seed = seed
        self.period_ms = period_ms
        self.next_ms = start_ms
        racks = -(-modules // MODULES_PER_RACK)
        self._rack = np.arange(modules) // MODULES_PER_RACK
        self.rack_ids = [rack_name(i // MODULES_PER_RACK) for i in range(modules)]
        self.module_ids = [f"{rack}_Module{i % MODULES_PER_RACK + 1:02d}" for i, rack in enumerate(self.rack_ids)]
        rng = np.random.default_rng([seed, 0])
        self._day = day_tables(racks, rng)
        self._ambient_c = rng.uniform(17, 30, racks)
        self._ambient_swing_c = rng.uniform(1, 5, racks)
        self._weather_phase = rng.uniform(0, 2 * np.pi, racks)
        self._cooling = rng.normal(1, 0.12, modules).clip(0.6, 1.6)
        self._offset_c = rng.normal(0.5, 0.5, modules)
        self._spread_c = rng.uniform(0.5, 2.5, modules)
        self._soc_bias = rng.normal(0, 0.7, modules)
        self._resistance = rng.normal(1, 0.1, modules).clip(0.7, 1.5)
        self._baseline_ppm = rng.uniform((16, 2, 5), (28, 10, 30), (modules, 3))
        self._runaways: Runaways = draw_runaways(
            modules,
            faults,
            self._healthy_temp_c,
            start_ms=start_ms,
            span_ms=span_ms,
            rng=np.random.default_rng([seed, 1]),
        )
        self.faults: list[Fault] = self._runaways.faults
        self._outage_block = -1
        self._outage_from = np.zeros((modules, len(SENSORS)), np.int64)
        self._outage_to = np.zeros((modules, len(SENSORS)), np.int64)

    def steps(self, n: int | None = None) -> Iterator[Step]:
        """The next `n` steps (endless without): `steps(2)` twice gives what `steps(4)` gives."""
        done = 0
        while n is None or done < n:
            step = Step(np.full(len(self.module_ids), self.next_ms, np.int64), self._readings(self.next_ms))
            self.next_ms += self.period_ms
            done += 1
            yield step

    def _ambient(self, ts_ms: NDArray[np.int64] | int, rack: NDArray[np.int64]) -> NDArray[np.float64]:
        turn = 2 * np.pi * (np.asarray(ts_ms, np.float64) / _DAY_MS)
        day = np.sin(turn - 2.2)
        # Weather: a slower wave, not in step with the day.
        weather = 0.5 * np.sin(turn / 3.3 + self._weather_phase[rack])
        swing: NDArray[np.float64] = self._ambient_c[rack] + self._ambient_swing_c[rack] * (day + weather)
        return swing

    def _healthy_temp_c(self, module: NDArray[np.int64], ts_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Surface temperature without a fault of each `module` at its `ts_ms`."""
        rack = self._rack[module]
        rise = self._day.rise_c[rack, ts_ms // SLOT_MS % DAY_SLOTS]
        warm: NDArray[np.float64] = self._ambient(ts_ms, rack) + rise * self._cooling[module] + self._offset_c[module]
        return warm

    def _readings(self, ts_ms: int) -> NDArray[np.float64]:
        modules = len(self.module_ids)
        slot = ts_ms // SLOT_MS % DAY_SLOTS
        ambient_c = self._ambient(ts_ms, self._rack)
        current_a = self._day.c_rate[self._rack, slot].astype(np.float64) * CAPACITY_AH
        soc = (self._day.soc_percent[self._rack, slot] + self._soc_bias).clip(0, 100)
        surface_c = ambient_c + self._day.rise_c[self._rack, slot] * self._cooling + self._offset_c
        # 0.4 mOhm a cell pair; cold cells resist more, about 1 % a degree below 25.
        ohm = 0.0004 * self._resistance * (1 + 0.01 * (25 - surface_c).clip(0, 40))
        cell_v = open_circuit_voltage_v(soc) + current_a * ohm
        out = np.empty((modules, len(SENSORS)))
        out[:, 0] = surface_c
        out[:, 1] = surface_c + self._spread_c
        out[:, 2] = cell_v * CELLS_IN_SERIES
        out[:, 3] = current_a
        out[:, 4] = soc
        out[:, 5:8] = self._baseline_ppm
        out[:, 8] = ambient_c
        self._runaways.apply(out, ts_ms)
        rng = np.random.default_rng([self.seed, 2, ts_ms])
        out += rng.standard_normal(out.shape) * _NOISE
        np.maximum(out[:, 5:8], 0, out=out[:, 5:8])
        out[rng.random(out.shape) < _MISSING_RATE] = np.nan
        self._draw_outages(ts_ms // _BLOCK_MS)
        out[(self._outage_from <= ts_ms) & (ts_ms < self._outage_to)] = np.nan
        return out

    def _draw_outages(self, block: int) -> None:
        """Sensors that go missing for minutes, drawn for each hour by itself; an outage ends with its hour."""
        if block == self._outage_block:
            return
        rng = np.random.default_rng([self.seed, 3, block])
        shape = self._outage_from.shape
        begins = block * _BLOCK_MS + rng.integers(0, _BLOCK_MS, shape)
        lasts = rng.exponential(_OUTAGE_MEAN_MS, shape).astype(np.int64)
        ends = np.minimum(begins + lasts, (block + 1) * _BLOCK_MS)
        happens = rng.random(shape) < _OUTAGES_PER_SENSOR_HOUR
        self._outage_from, self._outage_to = begins, np.where(happens, ends, begins)
        self._outage_block = block
