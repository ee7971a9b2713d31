"""Operation of racks by the minute: weather, air conditioning, charging and discharging.

Everything is drawn from the seed in order of time, so the result does not depend on how the minutes are requested.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import DAY_MS
from pipelines.battery_hazard.simulator.physics.cell import Float

MINUTE_MS = 60_000
_YEAR_MS = 365.25 * DAY_MS
_CHUNK = 360
"""Minutes computed at once."""
_UNFORCED = np.nan
# A rack's air and steel: 150 kJ/K, 20 W/K to the outside; eight modules make about 670 W at 1 C.
_LEAK_1_S = 20 / 150e3
_LOAD_K_S = 670 / 150e3
_ARBITRAGE, _CYCLING, _STANDBY, _BENCH, _FITFUL = range(5)
_HOTTEST_CELL_C, _RISE_C = 80.0, 8.0
"""Hottest cell temperature at which cells are cycled, and warming of an old cell at 1 C.

Warming grows with the square of the rate."""


@dataclass(frozen=True)
class Forced:
    """A change of a rack's normal operation from `start_ms` until `end_ms`.

    Attributes:
        c_rate: charging rate (1/h) to hold while the state of charge allows it; NaN leaves the rate unchanged.
        hvac_off: whether the air conditioning is off.
        warmer_c: added to the outside temperature.
    """

    rack: int
    start_ms: int
    end_ms: int
    c_rate: float = _UNFORCED
    hvac_off: bool = False
    warmer_c: float = 0.0


@dataclass(frozen=True)
class Minutes:
    """Consecutive minutes of all racks, arrays [minutes, racks].

    Attributes:
        first_ms: time of the first row.
        c_rate: current divided by capacity, 1/h, positive while charging.
        soc_percent: state of charge at the beginning of each minute.
        air_c: temperature of the air in the rack.
    """

    first_ms: int
    c_rate: Float
    soc_percent: Float
    air_c: Float


class Site:
    """Racks from `first_ms` on. Request minutes in order of time; only the last chunks are kept."""

    def __init__(
        self, racks: int, first_ms: int, rng: np.random.Generator, *, bench: bool, forced: list[Forced] | None = None
    ) -> None:
        """Draw how the racks are operated.

        Args:
            racks: number of racks.
            first_ms: time of the first minute.
            rng: source of randomness.
            bench: whether each rack is a single cell in a climatic chamber, cycled between empty and full.
            forced: changes of normal operation.
        """
        self.first_ms = first_ms
        self._racks = racks
        self._forced = forced or []
        self._seed = int(rng.integers(0, 2**62))
        kind = rng.choice(5, racks, p=[0, 0, 0.1, 0.4, 0.5] if bench else [0.55, 0.3, 0.15, 0, 0])
        self._roams = (kind == _CYCLING) | (kind == _BENCH) | (kind == _FITFUL)
        self._fitful = kind == _FITFUL
        self._idle = kind == _STANDBY
        hard = rng.lognormal(np.log(0.9), 0.5, racks).clip(0.3, 1.9)
        self._rate = np.where(kind == _CYCLING, hard, rng.uniform(0.15, 0.6, racks))
        self._low = rng.uniform(0.5, 5, racks) if bench else rng.uniform(5, 20, racks)
        self._high = rng.uniform(97, 100, racks) if bench else rng.uniform(85, 97, racks)
        self._rest_s = rng.uniform(300, 3600, racks)
        self._chamber_c = rng.uniform(0, 60, racks) if bench else None
        if self._chamber_c is not None:
            hardest = np.sqrt((_HOTTEST_CELL_C - self._chamber_c) / _RISE_C)
            self._rate = np.minimum(rng.uniform(0.1, 3.2, racks), hardest)
        self._turns = np.random.default_rng([self._seed, 2**31])
        self._pulse, self._minutes_a_pulse = np.zeros(racks), np.exp(rng.uniform(0, np.log(30), racks))
        self._mean_c, self._season_c = rng.uniform(6, 22), rng.uniform(4, 12)
        self._day_c, self._weather_c = rng.uniform(2, 7), rng.uniform(1, 4)
        self._phase = rng.uniform(0, 2 * np.pi, 3)
        self._setpoint_c = rng.uniform(20, 26, racks)
        self._band_c = rng.uniform(0.8, 2.0, racks)
        self._cooling_k_s = rng.uniform(0.010, 0.020, racks)
        self._next_ms = first_ms
        self._soc = rng.uniform(self._low + 10, self._high - 10)
        self._air = self._setpoint_c.copy() if self._chamber_c is None else self._chamber_c.copy()
        self._on = np.zeros(racks, np.bool_)
        self._direction = rng.choice([-1.0, 1.0], racks)
        self._rest_until_ms = np.full(racks, first_ms) + rng.integers(0, 3_600_000, racks)
        self._chunks: list[Minutes] = []

    def minutes(self, from_ms: int, to_ms: int) -> Minutes:
        """The minutes that cover `from_ms` to `to_ms`, both included."""
        while self._next_ms <= to_ms + MINUTE_MS:
            self._chunks.append(self._chunk())
        while self._chunks and self._chunks[0].first_ms + _CHUNK * MINUTE_MS < from_ms - DAY_MS:
            self._chunks.pop(0)
        first = max(0, (from_ms - self._chunks[0].first_ms) // (_CHUNK * MINUTE_MS))
        last = (to_ms + MINUTE_MS - self._chunks[0].first_ms) // (_CHUNK * MINUTE_MS)
        chosen = self._chunks[first : last + 1]
        columns = [np.concatenate([getattr(c, name) for c in chosen]) for name in ("c_rate", "soc_percent", "air_c")]
        return Minutes(chosen[0].first_ms, *columns)

    def _outside_c(self, ts_ms: int) -> float:
        """Weather: season, time of day, and waves of several days that are in step with neither."""
        day = 2 * np.pi * ts_ms / DAY_MS
        season = -np.cos(2 * np.pi * ts_ms / _YEAR_MS - 0.3)
        weather = np.sin(day / 3.3 + self._phase[0]) + np.sin(day / 7.7 + self._phase[1])
        swing = self._day_c * np.sin(day - 2.2) + self._weather_c * weather
        return float(self._mean_c + self._season_c * season + swing)

    def _windows(self, day: int) -> NDArray[np.float64]:
        """Arbitrage of one day: start of charging and discharging (hours), and strength, [3, racks]."""
        rng = np.random.default_rng([self._seed, max(day, 0)])
        solar = rng.random(self._racks) < 0.5
        begin = np.where(solar, rng.uniform(9, 11, self._racks), rng.uniform(0, 3, self._racks))
        return np.stack([begin, rng.uniform(16, 19, self._racks), rng.uniform(0.7, 1.3, self._racks)])

    def _chunk(self) -> Minutes:
        first_ms = self._next_ms
        shape = _CHUNK, self._racks
        c_rate, soc, air = np.empty(shape), np.empty(shape), np.empty(shape)
        imposed, off, warmer = np.full(shape, np.nan), np.zeros(shape, np.bool_), np.zeros(shape)
        end_ms = first_ms + _CHUNK * MINUTE_MS
        for one in self._forced:
            if one.start_ms < end_ms and one.end_ms > first_ms:
                where = slice(max(0, (one.start_ms - first_ms) // MINUTE_MS), (one.end_ms - first_ms) // MINUTE_MS)
                if not np.isnan(one.c_rate):
                    imposed[where, one.rack] = one.c_rate
                off[where, one.rack] |= one.hvac_off
                warmer[where, one.rack] += one.warmer_c
        windows, today = self._windows(first_ms // DAY_MS), first_ms // DAY_MS
        for k in range(_CHUNK):
            ts = first_ms + k * MINUTE_MS
            if ts // DAY_MS != today:
                today = ts // DAY_MS
                windows = self._windows(today)
            soc[k], air[k] = self._soc, self._air
            c_rate[k] = self._drive(ts, windows, imposed[k])
            self._soc = np.clip(self._soc + c_rate[k] * (100 / 60), 0, 100)
            if self._chamber_c is None:
                self._condition(self._outside_c(ts) + warmer[k], c_rate[k], off[k])
        self._next_ms = end_ms
        return Minutes(first_ms, c_rate, soc, air)

    def _drive(self, ts_ms: int, windows: Float, imposed: Float) -> Float:
        hour = ts_ms % DAY_MS / 3_600_000
        roaming = np.where(ts_ms < self._rest_until_ms, 0.0, self._direction * self._rate)
        if self._fitful.any():
            # Pulses and random loads: at random times, another share of the rate, or rest.
            other = self._turns.random((3, self._racks))
            drawn = np.where(other[1] < 0.5, 0.0, np.where(other[1] < 0.9, 1.0, -1.0) * other[2] ** 2)
            self._pulse = np.where(other[0] * self._minutes_a_pulse < 1, drawn, self._pulse)
            roaming = np.where(self._fitful, roaming * self._pulse, roaming)
        trading = (hour >= windows[0]) & (hour < windows[0] + 6), (hour >= windows[1]) & (hour < windows[1] + 5)
        usual = np.where(trading[0], self._rate, np.where(trading[1], -self._rate, 0.0)) * windows[2]
        wanted = np.where(self._roams, roaming, np.where(self._idle, 0.0, usual))
        forced = ~np.isnan(imposed)
        wanted = np.where(forced, imposed, wanted)
        # Near the limits of the state of charge, the current falls (constant voltage).
        gentle = np.maximum(np.where(wanted > 0, self._high - self._soc, self._soc - self._low), 0) * 0.3
        c_rate = np.sign(wanted) * np.minimum(np.abs(wanted), gentle)
        turned = self._roams & ~forced & (wanted != 0) & (np.abs(c_rate) < 0.05)
        self._direction = np.where(turned, -self._direction, self._direction)
        self._rest_until_ms = np.where(turned, ts_ms + (self._rest_s * 1000).astype(np.int64), self._rest_until_ms)
        return np.asarray(c_rate)

    def _condition(self, outside_c: Float, c_rate: Float, off: NDArray[np.bool_]) -> None:
        """Air conditioning with hysteresis, and a heater for the cold."""
        above = self._air - self._setpoint_c
        self._on = np.where(above > self._band_c, 1, np.where(above < -self._band_c, 0, self._on)) > 0
        heater = np.where(self._air < 14, 0.004, 0.0)
        change = _LEAK_1_S * (outside_c - self._air) + _LOAD_K_S * c_rate**2 + heater - self._cooling_k_s * self._on
        calm = _LEAK_1_S * (outside_c - self._air) + _LOAD_K_S * c_rate**2
        self._air = self._air + 60 * np.where(off, calm, change)


def rack_name(index: int) -> str:
    """Name of the rack at `index`, four in a row: RackA1 … RackA4, RackB1 … RackZ4, RackAA1 …."""
    row, number = divmod(index, 4)
    letters = ""
    row += 1
    while row:
        row, letter = divmod(row - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"Rack{letters}{number + 1}"
