"""Imperfections of sensors: noise, calibration, range, resolution, outliers, gaps and failure in a fire."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import HOUR_MS
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
)
"""Columns of readings, in the order of the record's fields."""
AVG, MAX, VOLTAGE, CURRENT, SOC, CO, H2, VOC, AMBIENT = range(9)
GAS = slice(CO, VOC + 1)
_MISSING_RATE = 0.0005
_OUTLIER_RATE = 0.0001
_OUTLIER_SIZE = np.array([12.0, 12.0, 3.0, 25.0, 8.0, 80.0, 80.0, 80.0, 12.0])
_OUTAGES_PER_SENSOR_HOUR = 0.004
_OUTAGE_MEAN_MS = 240_000.0
_WIRES_BURN = 0.35
_BENCH_HAS = [AVG, VOLTAGE, CURRENT]


@dataclass(frozen=True)
class Accuracy:
    """Standard deviation of the noise, and resolution (value of the last digit), of each sensor, [9]."""

    noise: Float
    digit: Float


IN_RACKS = Accuracy(
    np.array([0.2, 0.2, 0.05, 0.1, 0.0, 5.0, 5.0, 5.0, 0.2]),
    np.array([0.1, 0.1, 0.01, 0.1, 0.1, 1.0, 1.0, 1.0, 0.1]),
)
ON_BENCH = Accuracy(
    np.array([0.08, 0.08, 0.001, 0.004, 0.0, 1.0, 1.0, 1.0, 0.1]),
    np.array([0.1, 0.1, 0.0001, 0.01, 0.1, 1.0, 1.0, 1.0, 0.1]),
)


class Sensing:
    """The sensors of a fleet."""

    def __init__(self, modules: int, seed: int, *, bench: bool) -> None:
        """Draw calibrations. A test bench has voltage, current and one temperature per cell, and no gaps."""
        rng = np.random.default_rng([seed, 10])
        self.accuracy = ON_BENCH if bench else IN_RACKS
        self._bench, self._seed = bench, seed
        self.baseline_ppm: Float = rng.uniform((16, 2, 5), (28, 10, 30), (modules, 3))
        self._wander_ppm: Float = rng.uniform(0, 4, (modules, 3))
        self._phase = rng.uniform(0, 2 * np.pi, (modules, 3))
        self._calibration = rng.normal(0, 1, (modules, 9)) * np.array([0, 0, 0.0, 0.2, 0, 0, 0, 0, 0.3])

    def gas_ppm(self, ts_ms: NDArray[np.int64]) -> Float:
        """Readings of gas sensors in clean air, [t, modules, 3]. The baseline drifts over days."""
        turn = 2 * np.pi * (ts_ms[:, None, None] / 86_400_000 / 2.6)
        return np.asarray(self.baseline_ppm + self._wander_ppm * np.sin(turn + self._phase))

    def blur(self, values: Float, rng: np.random.Generator) -> None:
        """Add noise and outliers, clip to the range and round to the resolution; in place, [t, modules, 9]."""
        noise, digit = self.accuracy.noise.astype(np.float32), self.accuracy.digit
        values += self._calibration
        values += rng.standard_normal(values.shape, np.float32) * noise
        if not self._bench:
            odd = np.flatnonzero(rng.random(values.shape[:2], np.float32).ravel() < _OUTLIER_RATE)
            column = rng.integers(0, 9, odd.size)
            values.reshape(-1, 9)[odd, column] += _OUTLIER_SIZE[column] * rng.uniform(-1, 1, odd.size)
        gas = values[..., GAS]
        np.clip(gas, 0, SENSOR_RANGE_PPM, out=gas)
        np.maximum(values[..., VOLTAGE], 0, out=values[..., VOLTAGE])
        np.clip(values[..., SOC], 0, 100, out=values[..., SOC])
        np.clip(values[..., :2], -50, 1000, out=values[..., :2])
        values /= digit
        np.rint(values, out=values)
        values *= digit

    def lose(self, values: Float, ts_ms: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Add gaps in place: single values, and outages of a sensor for minutes."""
        if self._bench:
            lacking = [i for i in range(9) if i not in _BENCH_HAS]
            values[..., lacking] = np.nan
            return
        gone = np.flatnonzero(rng.random(values.size, np.float32) < _MISSING_RATE)
        values.reshape(-1)[gone] = np.nan
        for hour in range(int(ts_ms[0]) // HOUR_MS, int(ts_ms[-1]) // HOUR_MS + 1):
            self._outages(values, ts_ms, hour)

    def _outages(self, values: Float, ts_ms: NDArray[np.int64], hour: int) -> None:
        """Add the outages of one hour. Each hour has its own draw, and an outage ends with its hour."""
        rng = np.random.default_rng([self._seed, 3, hour])
        sensors = values.shape[1] * 9
        struck = np.flatnonzero(rng.random(sensors) < _OUTAGES_PER_SENSOR_HOUR)
        begins = hour * HOUR_MS + rng.integers(0, HOUR_MS, struck.size)
        ends = np.minimum(begins + rng.exponential(_OUTAGE_MEAN_MS, struck.size), (hour + 1) * HOUR_MS)
        flat = values.reshape(len(ts_ms), sensors)
        for sensor, begin, end in zip(struck.tolist(), begins.tolist(), ends.tolist(), strict=True):
            flat[np.searchsorted(ts_ms, begin) : np.searchsorted(ts_ms, end), sensor] = np.nan


def death_ms(no_return_ms: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """When each sensor of a burning module fails, ms, [9]: most within minutes; the ambient sensor often survives.

    In a third of fires the wires burn first, and all sensors fail at once.
    """
    dies = no_return_ms + rng.uniform(20_000, 300_000, 9).astype(np.int64)
    survives = rng.random(9) < np.array([0.15] * 8 + [0.6])
    if rng.random() < _WIRES_BURN:
        return np.full(9, dies.min())
    return np.where(survives, np.iinfo(np.int64).max, dies)
