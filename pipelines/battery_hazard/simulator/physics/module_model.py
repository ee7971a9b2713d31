"""Thermal abuse of whole modules: rows of cells that conduct heat to each other, each with its reactions.

Many modules are solved at once, each with a time step that depends on its temperature. Temperatures are absolute: the
input gives the air around a module and the heat of its normal load, to which the model adds the abuse.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.physics import abuse
from pipelines.battery_hazard.simulator.physics.cell import (
    GAS_CONSTANT,
    KELVIN,
    Float,
    open_circuit_voltage_v,
    warmth_factor,
)
from pipelines.battery_hazard.simulator.physics.course import GRID_S, LEAP, TABLE_S, Courses, Rows, Trials
from pipelines.battery_hazard.simulator.physics.single import surface_loss_w

Flags = NDArray[np.bool_]

NO_RETURN_C = 150.0
NO_RETURN_RATE_C_S = 1.0
SUSTAINED_S = 3.0
"""GB 38031-2020: a rise of at least 1 degree C per second for more than 3 s."""
_SEPARATOR_C = 160.0
"""Above this temperature a cell's separator collapses, and its group has no voltage."""

# Gas in runaway: 0.1 mol/Ah, 28 % CO and 30 % H2 for layered oxides (Golubkov et al. 2014, 18650 cells). The SEI
# releases two orders of magnitude less before. Solvent: 2.5 g/Ah of electrolyte, 40 % light carbonates of 90 g/mol.
GAS_MOL_AH = 0.1
SEI_GAS_MOL_AH = 0.0004
SOLVENT_MOL_AH = 0.011
_VOID_SHARE = 0.1
RUNAWAY_MIX = np.array([0.28, 0.30, 0.17])
SEI_MIX = np.array([0.05, 0.05, 0.4])
"""CO, H2, organic gases."""
_EVAPORATION_TAU_S = 300.0
_REACTING_C = 70.0
"""Below this temperature, reactions take years."""


class State:
    """The state that the model integrates, one row per module."""

    def __init__(self, trials: Trials) -> None:
        modules, cells = len(trials.start_c), trials.series * trials.parallel
        shape = modules, cells
        self.temp = np.repeat(trials.start_c[:, None], cells, axis=1)
        self.surface = self.temp.copy()
        self.contents = abuse.Contents(*abuse.fresh(shape, trials.soc_percent[:, None]))
        self.group_soc = trials.soc_percent.astype(np.float64)
        self.charged = trials.charge_from_percent.astype(np.float64)
        self.vented = np.zeros(shape, np.bool_)
        self.collapsed = np.zeros(shape)
        self.pent = np.zeros((*shape, 3))
        self.solvent = np.full(shape, SOLVENT_MOL_AH * trials.cell.capacity_ah)
        self.gas = np.zeros((modules, 3))
        self.burnt_j_m3 = np.zeros((4, *shape))
        self.drop_v, self.low_v, self.high_v = (np.zeros(modules) for _ in range(3))
        self.time_s = np.zeros(modules)
        self.fast_s = np.zeros(modules)
        self.rate = np.zeros(modules)
        self.no_return_s = np.full(modules, np.inf)
        self.vent_s = np.full(modules, np.inf)


def vapour_pressure_pa(temp_c: Float) -> Float:
    """Of dimethyl carbonate, the most volatile solvent (Clausius-Clapeyron: boils at 90 degrees C, 33 kJ/mol)."""
    return np.asarray(101_325 * np.exp(33_000 / GAS_CONSTANT * (1 / 363.15 - 1 / (temp_c + KELVIN))))


def _step(trials: Trials, state: State, rows: Rows, time_s: Float, dt_s: Float) -> None:
    """Advance the modules `rows` by their own `dt_s` from their own `time_s`."""
    cell, t = trials.cell, state.temp[rows]
    minute = np.minimum((time_s / TABLE_S).astype(np.int64), trials.air_c.shape[1] - 1)
    air = trials.air_c[rows, minute][:, None]
    # The load's heat falls with the resistance of a warmer cell, and ends when the module has failed.
    usual = trials.usual_c[rows, minute][:, None]
    load = trials.load_w[rows, minute][:, None] * warmth_factor(t) / warmth_factor(usual)
    failed = np.isfinite(state.no_return_s[rows])[:, None]
    watts = np.where(failed, 0.0, load) - (trials.loss_w_k * trials.cooling_left)[rows, None] * (t - air)
    if trials.radiating:
        linear = trials.loss_w_k[rows, None] * (t - usual)
        watts -= np.maximum(surface_loss_w(t, usual, cell.area_m2) - linear, 0)
    if t.shape[1] > 1:
        flow = trials.conduction_w_k[rows, None] * np.diff(t, axis=1)
        watts[:, :-1] += flow
        watts[:, 1:] -= flow
    wall = trials.wall_c[rows, np.minimum((time_s / GRID_S).astype(np.int64), trials.wall_c.shape[1] - 1)]
    watts += trials.wall_w_k[rows] * (wall[:, None] - t)

    sag_v, over_v, inside = _electrical(trials, state, rows, time_s, dt_s, failed[:, 0])
    watts += inside

    heat = np.zeros_like(t)
    if (hot := (t.max(axis=1) > _REACTING_C).nonzero()[0]).size:
        which = rows[hot]
        old = abuse.Contents(*(part[which] for part in state.contents))
        new, by_reaction = abuse.react(old, t[hot], dt_s[hot, None])
        for part, value in zip(state.contents, new, strict=True):
            part[which] = value
        heat[hot] = by_reaction.sum(axis=0) * cell.volume_m3
        state.burnt_j_m3[:, which] += by_reaction
    state.temp[rows] = t + (watts * dt_s[:, None] + heat) / cell.heat_capacity_j_k
    lag = 1 - np.exp(-dt_s / cell.surface_tau_s)
    state.surface[rows] += lag[:, None] * (state.temp[rows] - state.surface[rows])

    collapsed = np.maximum(state.collapsed[rows], (t > _SEPARATOR_C) * 1.0)
    state.collapsed[rows] = collapsed
    groups = collapsed.reshape(len(rows), trials.series, trials.parallel).max(axis=2).sum(axis=1)
    held = open_circuit_voltage_v(trials.soc_percent[rows], cell.chemistry)
    volt_drop = sag_v - over_v * trials.series
    state.drop_v[rows] = np.where(groups > 0, np.minimum(volt_drop, 0), volt_drop) + groups * held
    state.low_v[rows] = np.where(groups > 0, -held, over_v - sag_v)
    state.high_v[rows] = np.where(groups == trials.series, -held, np.where(trials.series == 1, over_v - sag_v, over_v))
    _note_no_return(state, rows, state.temp[rows].max(axis=1), t.max(axis=1), time_s, dt_s)


def _electrical(
    trials: Trials, state: State, rows: Rows, time_s: Float, dt_s: Float, failed: Flags
) -> tuple[Float, Float, Float]:
    """Internal shorts and overcharging.

    Returns:
        Fall of the shorted cell's voltage and rise of each cell's by overcharging, [rows], and heat in each cell,
        [rows, cells].
    """
    cell = trials.cell
    watts = np.zeros_like(state.temp[rows])
    grown = np.minimum(time_s / trials.short_tau_s[rows], 1.0)
    start, end = trials.short_ohm[rows], trials.short_end_ohm[rows]
    shorted = np.isfinite(start)
    ohm = np.where(shorted, start, 1.0) ** (1 - grown) * np.where(shorted, end, 1.0) ** grown
    inner = cell.resistance_ohm / trials.parallel
    volt = open_circuit_voltage_v(state.group_soc[rows], cell.chemistry)
    amp = np.where(shorted & (state.group_soc[rows] > 0), volt / (ohm + inner), 0.0)
    state.group_soc[rows] -= amp * dt_s / 36 / (cell.capacity_ah * trials.parallel)
    watts[np.arange(len(rows)), trials.weak[rows]] += amp * volt

    rate = trials.overcharge_c[rows]
    charging = (rate > 0) & ~failed
    beyond = np.maximum(state.charged[rows] - 100, 0)
    state.charged[rows] += np.where(charging, rate * dt_s / 36, 0.0)
    over_v = np.where(charging, 0.010 * beyond + 0.004 * np.maximum(beyond - 15, 0), 0.0)
    watts += (rate * cell.capacity_ah * over_v)[:, None]
    full_v = open_circuit_voltage_v(trials.soc_percent[rows], cell.chemistry)
    return np.where(shorted, full_v - (volt - amp * inner), 0.0), over_v, watts


def _note_no_return(state: State, rows: Rows, now_c: Float, before_c: Float, time_s: Float, dt_s: Float) -> None:
    rate = (now_c - before_c) / dt_s
    state.rate[rows] = rate
    state.fast_s[rows] = np.where(rate >= NO_RETURN_RATE_C_S, state.fast_s[rows] + dt_s, 0.0)
    lost = (now_c >= NO_RETURN_C) | (state.fast_s[rows] >= SUSTAINED_S)
    state.no_return_s[rows] = np.where(
        lost, np.minimum(state.no_return_s[rows], time_s + dt_s), state.no_return_s[rows]
    )


def _gas(trials: Trials, state: State, rows: Rows, time_s: Float, passed_s: Float) -> None:
    """Gas of the last `passed_s`: it builds up pressure in a closed cell, and leaves an open one."""
    ah, t = trials.cell.capacity_ah, state.temp[rows]
    shares = state.burnt_j_m3[:, rows] / (abuse.HEAT_J_M3 * np.array([0.15, 0.75, 0.96, 1.0])).reshape(4, 1, 1)
    burnt = (shares[abuse.ANODE] + shares[abuse.CATHODE] + shares[abuse.ELECTROLYTE]) / 3
    made = shares[abuse.SEI][..., None] * (SEI_GAS_MOL_AH * SEI_MIX) + burnt[..., None] * (GAS_MOL_AH * RUNAWAY_MIX)
    pent = state.pent[rows] + made * ah
    void_m3 = _VOID_SHARE * trials.cell.volume_m3
    # Half of the gas, mostly CO2, is none of the three.
    pressure = vapour_pressure_pa(t) + 2 * pent.sum(axis=2) * GAS_CONSTANT * (t + KELVIN) / void_m3
    vented = state.vented[rows] | (pressure > trials.burst_pa[rows, None])
    opened = vented.any(axis=1)
    state.vent_s[rows] = np.where(opened, np.minimum(state.vent_s[rows], time_s), state.vent_s[rows])
    steam = np.where(
        vented & (t > 70), state.solvent[rows] * (1 - np.exp(-passed_s[:, None] / _EVAPORATION_TAU_S)), 0.0
    )
    state.solvent[rows] -= steam
    free = np.where(vented[..., None], pent, 0.0)
    state.gas[rows] += free.sum(axis=1)
    state.gas[rows, 2] += steam.sum(axis=1)
    state.pent[rows] = pent - free
    state.vented[rows] = vented


def _cuts(state: State, rows: Rows) -> Rows:
    """Number of steps for the next `GRID_S`, most near the point of no return. 0: one step of `LEAP` grid points."""
    hottest, rate = state.temp[rows].max(axis=1), np.abs(state.rate[rows])
    burning = (state.contents.anode[rows] * (state.temp[rows] > 100)).max(axis=1) > 0.02
    past = state.time_s[rows] > state.no_return_s[rows] + 120
    lively = (((hottest > 110) & burning) | (rate > 0.1)) & ~past
    sharp = lively & ((hottest > 135) | (rate > 0.3))
    calm = (hottest < 95) & (rate < 0.03) & (state.time_s[rows] > 60)
    return np.where(sharp, 10, np.where(lively, 2, np.where(calm, 0, 1)))


def solve(trials: Trials, *, hours: float, after_s: float = 2400.0) -> Courses:
    """Integrate each module until `after_s` past its point of no return, or for `hours`.

    Each module has its own time and step, so that fast modules do not force small steps on slow ones.

    Args:
        trials: conditions of the modules.
        hours: longest time to integrate.
        after_s: time to continue past the point of no return; 0 if only that point is wanted.
    """
    state = State(trials)
    modules = len(trials.start_c)
    steps = -(-round(hours * 3600 / GRID_S) // LEAP) * LEAP
    kept = Courses.empty(modules, steps + 1)
    point, left = np.zeros(modules, np.int64), np.zeros(modules, np.int64)
    ahead, dt_s = np.zeros(modules, np.int64), np.full(modules, GRID_S)
    while True:
        if (due := (left == 0).nonzero()[0]).size:
            point[due] += ahead[due]
            if (warm := due[state.temp[due].max(axis=1) > _REACTING_C]).size:
                _gas(trials, state, warm, state.time_s[warm], GRID_S * ahead[warm])
                state.burnt_j_m3[:, warm] = 0
            kept.note(trials, state, due, point[due])
            if (leapt := due[ahead[due] == LEAP]).size:
                kept.bridge(leapt, point[leapt])
            cuts = np.where(point[due] <= steps - LEAP, _cuts(state, due), 1)
            left[due], ahead[due] = np.maximum(cuts, 1), np.where(cuts == 0, LEAP, 1)
            dt_s[due] = GRID_S * ahead[due] / left[due]
            done = (point[due] >= steps) | (state.time_s[due] >= state.no_return_s[due] + after_s)
            left[due[done]] = -1
        going = (left > 0).nonzero()[0]
        if not going.size:
            break
        _step(trials, state, going, state.time_s[going], dt_s[going])
        state.time_s[going] += dt_s[going]
        left[going] -= 1
    kept.no_return_s, kept.vent_s = state.no_return_s, state.vent_s
    return kept.until(int(point.max()) + 1)
