"""Sudden internal shorts of pouch and prismatic cells: heat at one spot that spreads and decays, or goes on to runaway.

The separator fails at one spot, and within 1 to 3 s the short heats it. Then the short burns out or becomes weaker, the
voltage recovers, and the heat spreads through the cell. Around the spot some of the cell reacts. Either that front
dies, or it runs through the cell, and in a module through the cells beside it.

A reduced model with two temperatures for the shorted cell, that of the spot and that of the rest, and one for each
cell beside it. All are differences from the module without the short.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.physics import abuse
from pipelines.battery_hazard.simulator.physics.cell import RHO_CP_J_M3K, Cell, Float, open_circuit_voltage_v
from pipelines.battery_hazard.simulator.physics.module_model import (
    GAS_MOL_AH,
    RUNAWAY_MIX,
    SEI_GAS_MOL_AH,
    SEI_MIX,
    SOLVENT_MOL_AH,
)

GRID_S = 1.0
"""Time between two points of a course."""
SECONDS = 2400
VENT_SHARE = 0.05
"""A cell opens when this share of it has reacted."""
_FINE_S, _FINE_UNTIL_S = 0.25, 240.0
_SEED_SHARE = 0.02
"""Share of the reacting part that has reacted when the front starts."""
_MILD_HEAT = 0.18
"""Heat of the reactions of LFP and LTO, ratio to layered oxide on graphite. An LFP cathode releases no oxygen."""
_IGNITES_C = 125.0
"""From this temperature on a cell of layered oxide heats itself, and catches fire from its neighbour."""
_NEXT_BURNT, _COLLAPSED = 0.6, 0.5
"""Share of a neighbour that reacts at least, and share that has reacted when its voltage is gone."""
_EMPTY_PERCENT = 3.0
"""Below this state of charge the current of a short dies away."""
_HOTTER_LOSES_K = 250.0
"""A cell this much above the air loses twice what the linear loss says, by radiation."""


@dataclass(frozen=True)
class Spots:
    """Sudden shorts, one row each; arrays [rows].

    Attributes:
        cell: design of the cells.
        series, parallel: how they are connected; cells of a parallel group are side by side.
        start_c: temperature of the module at the onset.
        soc_percent: state of charge at the onset.
        weak: the shorted cell.
        c_rate: current through the short at first, 1/h.
        burst_s: time for which that current flows.
        fading_s: time constant with which the current falls.
        left: share of the current that does not fall with it, but more slowly.
        left_s: time constant with which that share falls.
        dip_v: fall of the cell's voltage at first.
        spot_share: share of the cell's heat capacity that is the spot's.
        spot_heat: share of the short's heat that is released there.
        spot_tau_s: time constant with which the spot's heat spreads through the cell.
        loss_tau_s: time constant with which the cell cools.
        conduction_w_k: thermal conductance from a cell to the next.
        seen: how much of the difference between spot and cell the thermometer sees, 0 to 1.
        lag_s: time constant of the thermometer.
        burnt: share of the cell that reacts.
        front_s: time constant of the front that runs through it.
        delay_s: time from the onset until that front starts.
        collapse: share of the cell that has reacted when it loses its voltage; above 1: it never does.
    """

    cell: Cell
    series: int
    parallel: int
    start_c: Float
    soc_percent: Float
    weak: NDArray[np.int64]
    c_rate: Float
    burst_s: Float
    fading_s: Float
    left: Float
    left_s: Float
    dip_v: Float
    spot_share: Float
    spot_heat: Float
    spot_tau_s: Float
    loss_tau_s: Float
    conduction_w_k: Float
    seen: Float
    lag_s: Float
    burnt: Float
    front_s: Float
    delay_s: Float
    collapse: Float

    def only(self, rows: NDArray[np.int64]) -> "Spots":
        """Some of the shorts."""
        arrays: dict[str, Any] = {n: value[rows] for n, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)


@dataclass(frozen=True)
class SpotCourses:
    """What follows, one point each `GRID_S` from the onset; arrays [rows, k], differences from the module without it.

    Attributes:
        hot_c, mean_c, cold_c: what the thermometers of the hottest group show, all on average, and the coldest.
        side_c: temperature of the outermost cell.
        volt_v: voltage of the module.
        low_v, high_v: voltage of its lowest and of its highest cell.
        burnt: share of each cell that has reacted, [rows, k, cells].
        energy_j: heat released so far in all cells, heat stored in them, and heat lost to the air, [rows, k, 3].
    """

    hot_c: Float
    mean_c: Float
    cold_c: Float
    side_c: Float
    volt_v: Float
    low_v: Float
    high_v: Float
    burnt: Float
    energy_j: Float

    @classmethod
    def empty(cls, rows: int, points: int, cells: int) -> "SpotCourses":
        """Zeros for `points` of each row."""
        hot, mean, cold, side, volt, low, high = (np.zeros((rows, points)) for _ in range(7))
        return cls(hot, mean, cold, side, volt, low, high, np.zeros((rows, points, cells)), np.zeros((rows, points, 3)))


def reaction_k(cell: Cell, soc_percent: Float) -> Float:
    """Rise of a cell's temperature if all of it reacts and no heat is lost, kelvin."""
    full = abuse.START.copy()
    full[abuse.CATHODE] = 1 - full[abuse.CATHODE]
    content = np.repeat(full[:, None], len(soc_percent), axis=1)
    content[abuse.ANODE] *= 0.5 + soc_percent / 200
    rise = (abuse.HEAT_J_M3[:, None] * content).sum(axis=0) / RHO_CP_J_M3K
    return np.asarray(rise * (1.0 if cell.chemistry == "nmc" else _MILD_HEAT))


def run_spots(shorts: Spots) -> SpotCourses:
    """Integrate the shorts for `SECONDS`, in steps of a quarter of a second at first and of a second later."""
    state = _State(shorts)
    count = round(SECONDS / GRID_S) + 1
    made = SpotCourses.empty(len(shorts.weak), count, state.rest.shape[1])
    time_s, point = 0.0, 1
    while point < count:
        dt_s = _FINE_S if time_s < _FINE_UNTIL_S else GRID_S
        state.step(time_s, dt_s)
        time_s += dt_s
        if time_s + 1e-9 >= point * GRID_S:
            state.note(made, point)
            point += 1
    return made


class _State:
    """Temperatures (differences from the module without the short), charge, and what has reacted."""

    def __init__(self, shorts: Spots) -> None:
        n, cells = len(shorts.weak), shorts.series * shorts.parallel
        self.shorts, self.at = shorts, (np.arange(n), shorts.weak)
        self.rest_v = open_circuit_voltage_v(shorts.soc_percent, shorts.cell.chemistry)
        self.soc = shorts.soc_percent.copy()
        self.volt = self.rest_v.copy()
        self.spot, self.spot_seen = np.zeros(n), np.zeros(n)
        self.rest, self.seen, self.burnt = (np.zeros((n, cells)) for _ in range(3))
        self.started = np.zeros((n, cells), np.bool_)
        whole = shorts.cell.heat_capacity_j_k
        self.capacity = np.full((n, cells), whole)
        self.capacity[self.at] *= 1 - shorts.spot_share
        self.of_spot = whole * shorts.spot_share
        self.rise_k = reaction_k(shorts.cell, shorts.soc_percent)[:, None]
        self.limit = np.repeat(np.maximum(shorts.burnt, _NEXT_BURNT)[:, None], cells, axis=1)
        self.limit[self.at] = shorts.burnt
        self.released_j, self.lost_j = np.zeros(n), np.zeros(n)

    def step(self, time_s: float, dt_s: float) -> None:
        """Advance all shorts from `time_s` by `dt_s`."""
        shorts, whole = self.shorts, self.shorts.cell.heat_capacity_j_k
        c_rate = self._short(time_s)
        short_j = c_rate * shorts.cell.capacity_ah * open_circuit_voltage_v(self.soc, shorts.cell.chemistry) * dt_s
        self.soc = np.maximum(self.soc - c_rate * dt_s / 36, 0)
        reacted = self._react(time_s, dt_s)
        above = np.maximum(self.rest, 0)
        lost_j = whole / shorts.loss_tau_s[:, None] * above * (1 + above / _HOTTER_LOSES_K) * dt_s
        gained_j = reacted * self.rise_k * self.capacity - lost_j
        if gained_j.shape[1] > 1:
            flow_j = shorts.conduction_w_k[:, None] * np.diff(self.rest, axis=1) * dt_s
            gained_j[:, :-1] += flow_j
            gained_j[:, 1:] -= flow_j
        shed_j = (self.spot - self.rest[self.at]) * self.of_spot * (1 - shorts.spot_share) / shorts.spot_tau_s * dt_s
        gained_j[self.at] += short_j * (1 - shorts.spot_heat) + shed_j
        self.spot += (short_j * shorts.spot_heat - shed_j) / self.of_spot + reacted[self.at] * self.rise_k[:, 0]
        self.rest += gained_j / self.capacity
        self.released_j += short_j + (reacted * self.rise_k).sum(axis=1) * whole
        self.lost_j += lost_j.sum(axis=1)
        lag = 1 - np.exp(-dt_s / shorts.lag_s)
        self.seen += lag[:, None] * (self.rest - self.seen)
        self.spot_seen += lag * (shorts.seen * (self.spot - self.rest[self.at]) - self.spot_seen)

    def _short(self, time_s: float) -> Float:
        """Set the voltage of the shorted cell, and return the current through the short (1/h).

        Both end with the cell's charge.
        """
        shorts = self.shorts
        since_s = np.maximum(time_s - shorts.burst_s, 0)
        slow, fast = np.exp(-since_s / shorts.left_s), np.exp(-since_s / shorts.fading_s)
        strength = shorts.left * slow + (1 - shorts.left) * fast
        charged = np.minimum(self.soc / _EMPTY_PERCENT, 1)
        rest_v = open_circuit_voltage_v(self.soc, shorts.cell.chemistry) * np.sqrt(charged)
        collapsed = self.burnt[self.at] > shorts.collapse
        self.volt = np.where(collapsed, 0.0, np.maximum(rest_v - shorts.dip_v * strength, 0))
        return shorts.c_rate * strength * charged

    def _react(self, time_s: float, dt_s: float) -> Float:
        """Let the fronts run, and return the share of each cell that reacts in this step."""
        shorts = self.shorts
        self.started[self.at] |= time_s >= shorts.delay_s
        if shorts.cell.chemistry == "nmc":
            self.started |= self.rest + shorts.start_c[:, None] > _IGNITES_C
        left = self.limit - self.burnt
        pace = (self.burnt + _SEED_SHARE * self.limit) * left / (self.limit * shorts.front_s[:, None])
        reacted = np.where(self.started, np.minimum(pace * dt_s, left), 0.0)
        self.burnt += reacted
        return reacted

    def note(self, made: SpotCourses, point: int) -> None:
        """Store the current state as a point of the courses."""
        shorts = self.shorts
        rows, group = self.at[0], shorts.weak // shorts.parallel
        shape = len(rows), shorts.series, shorts.parallel
        seen = self.seen.reshape(shape).mean(axis=2)
        seen[rows, group] += self.spot_seen
        made.hot_c[:, point], made.mean_c[:, point] = seen.max(axis=1), seen.mean(axis=1)
        made.cold_c[:, point], made.side_c[:, point] = seen.min(axis=1), self.rest[:, -1]
        gone = np.asarray((self.burnt > _COLLAPSED).reshape(shape).any(axis=2))
        gone[rows, group] = False
        made.low_v[:, point] = np.where(gone.any(axis=1), 0.0, self.volt) - self.rest_v
        if shorts.series == 1:
            made.high_v[:, point] = made.low_v[:, point]
        made.volt_v[:, point] = self.volt - self.rest_v - gone.sum(axis=1) * self.rest_v
        made.burnt[:, point] = self.burnt
        stored = (self.rest * self.capacity).sum(axis=1) + self.spot * self.of_spot
        made.energy_j[:, point] = np.stack([self.released_j, stored, self.lost_j], axis=1)


def gas_mol(cell: Cell, burnt: Float) -> Float:
    """CO, H2 and organic gases freed so far, [k, 3], from the share of each cell that has reacted, [k, cells].

    A cell opens when `VENT_SHARE` of it has reacted.
    """
    opened = np.where(burnt > VENT_SHARE, burnt, 0.0).sum(axis=1)
    solvent = (burnt > VENT_SHARE).sum(axis=1) * SOLVENT_MOL_AH * np.array([0.0, 0.0, 1.0])[:, None]
    mixed = opened[:, None] * (GAS_MOL_AH * RUNAWAY_MIX + SEI_GAS_MOL_AH * SEI_MIX)
    return np.asarray((mixed + solvent.T) * cell.capacity_ah)
