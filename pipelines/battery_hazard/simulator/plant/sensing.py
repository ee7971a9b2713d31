"""Imperfections of sensors: noise, calibration, range, resolution, outliers, gaps and failure in a fire."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import DAY_MS, HOUR_MS
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.plant.gas import SENSOR_RANGE_PPM

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
    "min_cell_voltage_v",
    "max_cell_voltage_v",
    "min_cell_temp_c",
    "max_cell_temp_c",
)
"""Columns of readings, in the order of the record's fields."""
AVG, MAX, VOLTAGE, CURRENT, SOC, CO, H2, VOC, AMBIENT, LOW_CELL_V, HIGH_CELL_V, COLD_CELL, HOT_CELL = range(13)
COUNT = len(SENSORS)
GAS = slice(CO, VOC + 1)
_MISSING_RATE = 0.0005
_OUTLIER_RATE = 0.0001
_OUTLIER_SIZE = np.array([12.0, 12.0, 3.0, 25.0, 8.0, 80.0, 80.0, 80.0, 12.0, 0.3, 0.3, 12.0, 12.0])
_OUTAGES_PER_SENSOR_HOUR = 0.004
_OUTAGE_MEAN_MS = 240_000.0
_WIRES_BURN, _SURVIVES_TEST = 0.35, 0.8
_BENCH_LACKS = [SOC, CO, H2, VOC, AMBIENT]
_ONE_THERMOMETER = 0.8
"""Share of test benches with one thermometer, which is their mean and their hottest."""


@dataclass(frozen=True)
class Accuracy:
    """Standard deviation of the noise, and resolution (value of the last digit), of each sensor, [13]."""

    noise: Float
    digit: Float


IN_RACKS = Accuracy(
    np.array([0.2, 0.2, 0.05, 0.1, 0.0, 5.0, 5.0, 5.0, 0.2, 0.002, 0.002, 0.2, 0.2]),
    np.array([0.1, 0.1, 0.01, 0.1, 0.1, 1.0, 1.0, 1.0, 0.1, 0.001, 0.001, 0.1, 0.1]),
)
ON_BENCH = Accuracy(
    np.array([0.08, 0.08, 0.001, 0.004, 0.0, 1.0, 1.0, 1.0, 0.1, 0.001, 0.001, 0.08, 0.08]),
    np.array([0.1, 0.1, 0.0001, 0.01, 0.1, 1.0, 1.0, 1.0, 0.1, 0.0001, 0.0001, 0.1, 0.1]),
)


class Sensing:
    """The sensors of a fleet."""

    def __init__(self, modules: int, seed: int, *, bench: bool) -> None:
        """Draw calibrations. A test bench has voltage, current and one or two thermometers per cell, and no gaps."""
        rng = np.random.default_rng([seed, 10])
        self.accuracy = ON_BENCH if bench else IN_RACKS
        self._bench, self._seed = bench, seed
        self.baseline_ppm: Float = rng.uniform((16, 2, 5), (28, 10, 30), (modules, 3))
        self._wander_ppm: Float = rng.uniform(0, 4, (modules, 3))
        self._phase = rng.uniform(0, 2 * np.pi, (modules, 3))
        self._calibration = rng.normal(0, 1, (modules, COUNT)) * np.array([0, 0, 0, 0.2, 0, 0, 0, 0, 0.3, 0, 0, 0, 0])
        self._one_thermometer = np.flatnonzero(rng.random(modules) < _ONE_THERMOMETER)

    def gas_ppm(self, ts_ms: NDArray[np.int64]) -> Float:
        """Readings of gas sensors in clean air, [t, modules, 3]. The baseline drifts over days."""
        turn = 2 * np.pi * (ts_ms[:, None, None] / DAY_MS / 2.6)
        return np.asarray(self.baseline_ppm + self._wander_ppm * np.sin(turn + self._phase))

    def blur(self, values: Float, rng: np.random.Generator) -> None:
        """Add noise and outliers, clip to the range and round to the resolution; in place, [t, modules, 13]."""
        noise, digit = self.accuracy.noise.astype(np.float32), self.accuracy.digit
        values += self._calibration
        values += rng.standard_normal(values.shape, np.float32) * noise
        if not self._bench:
            odd = np.flatnonzero(rng.random(values.shape[:2], np.float32).ravel() < _OUTLIER_RATE)
            column = rng.integers(0, COUNT, odd.size)
            values.reshape(-1, COUNT)[odd, column] += _OUTLIER_SIZE[column] * rng.uniform(-1, 1, odd.size)
        gas = values[..., GAS]
        np.clip(gas, 0, SENSOR_RANGE_PPM, out=gas)
        np.maximum(values[..., VOLTAGE], 0, out=values[..., VOLTAGE])
        np.maximum(values[..., LOW_CELL_V:COLD_CELL], 0, out=values[..., LOW_CELL_V:COLD_CELL])
        np.clip(values[..., SOC], 0, 100, out=values[..., SOC])
        for of in (slice(MAX + 1), slice(COLD_CELL, COUNT)):
            np.clip(values[..., of], -50, 1000, out=values[..., of])
        values /= digit
        np.rint(values, out=values)
        values *= digit

    def lose(self, values: Float, ts_ms: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Add gaps in place: single values, and outages of a sensor for minutes."""
        if self._bench:
            values[..., _BENCH_LACKS] = np.nan
            values[:, self._one_thermometer, AVG] = values[:, self._one_thermometer, MAX]
            # One cell is its own lowest and highest, coldest and hottest.
            values[..., [LOW_CELL_V, HIGH_CELL_V]] = values[..., [VOLTAGE]]
            values[..., COLD_CELL], values[..., HOT_CELL] = values[..., AVG], values[..., MAX]
            return
        gone = np.flatnonzero(rng.random(values.size, np.float32) < _MISSING_RATE)
        values.reshape(-1)[gone] = np.nan
        for hour in range(int(ts_ms[0]) // HOUR_MS, int(ts_ms[-1]) // HOUR_MS + 1):
            self._outages(values, ts_ms, hour)

    def _outages(self, values: Float, ts_ms: NDArray[np.int64], hour: int) -> None:
        """Add the outages of one hour. Each hour has its own draw, and an outage ends with its hour."""
        rng = np.random.default_rng([self._seed, 3, hour])
        sensors = values.shape[1] * COUNT
        struck = np.flatnonzero(rng.random(sensors) < _OUTAGES_PER_SENSOR_HOUR)
        begins = hour * HOUR_MS + rng.integers(0, HOUR_MS, struck.size)
        ends = np.minimum(begins + rng.exponential(_OUTAGE_MEAN_MS, struck.size), (hour + 1) * HOUR_MS)
        flat = values.reshape(len(ts_ms), sensors)
        for sensor, begin, end in zip(struck.tolist(), begins.tolist(), ends.tolist(), strict=True):
            flat[np.searchsorted(ts_ms, begin) : np.searchsorted(ts_ms, end), sensor] = np.nan


def death_ms(no_return_ms: int, rng: np.random.Generator, *, bench: bool) -> NDArray[np.int64]:
    """When each sensor of a burning module fails, ms, [13]: most within minutes; the ambient sensor often survives.

    In a third of fires the wires burn first, and all sensors fail at once. On a test bench most sensors survive, as the
    test is made to be measured.
    """
    dies = no_return_ms + rng.uniform(20_000, 300_000, COUNT).astype(np.int64)
    chance = np.where(np.arange(COUNT) == AMBIENT, 0.6, 0.15)
    survives = rng.random(COUNT) < (_SURVIVES_TEST if bench else chance)
    if rng.random() < _WIRES_BURN and not bench:
        return np.full(COUNT, dies.min())
    return np.where(survives, np.iinfo(np.int64).max, dies)
