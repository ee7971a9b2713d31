"""Thermal abuse of whole modules: rows of cells that conduct heat to each other, each with its reactions.

Many modules are solved at once, each with a step that suits how hot it is. Temperatures are absolute: a module is given the
air around it and the heat of its normal load, and what it does beyond that is the abuse.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.physics import abuse
from producers.physics.cell import GAS_CONSTANT, KELVIN, Cell, Float, open_circuit_voltage_v, warmth_factor
from producers.physics.single import surface_loss_w

Rows = NDArray[np.int64]

GRID_S = 5.0
"""Resolution of the course that is kept."""
TABLE_S = 60.0
NO_RETURN_C = 150.0
NO_RETURN_RATE_C_S = 1.0
SUSTAINED_S = 3.0
"""GB 38031-2020: a rise of at least 1 degree C a second for more than 3 s."""
_SEPARATOR_C = 160.0
"""Hotter than that, a cell's separator has collapsed and its group has no voltage any more."""

# Gas (Golubkov et al. 2014, 18650 cells: 0.1 mol/Ah in runaway, CO and H2 28 and 30 % of it for layered oxides). What the
# SEI gives off before is two orders less; solvent: 2.5 g/Ah of electrolyte, 40 % of it light carbonates of 90 g/mol.
GAS_MOL_AH = 0.1
SEI_GAS_MOL_AH = 0.0004
SOLVENT_MOL_AH = 0.011
_VOID_SHARE = 0.1
_RUNAWAY_MIX = np.array([0.28, 0.30, 0.17])
_SEI_MIX = np.array([0.05, 0.05, 0.4])
"""CO, H2, organic gases."""
_EVAPORATION_TAU_S = 300.0
_REACTING_C = 70.0
"""Below, reactions take years."""


@dataclass
class Trials:
    """What is done to modules: one row a module.

    Attributes:
        cell: design of the cells.
        series, parallel: how they are connected; cells of a group lie side by side.
        start_c: temperature at the beginning, [modules].
        soc_percent: state of charge at the beginning, [modules].
        air_c: air around the cells each minute, [modules, minutes]; the last value holds on.
        usual_c: temperature of the same module without the fault, each minute, [modules, minutes].
        load_w: heat of the normal load in each cell, each minute, [modules, minutes].
        loss_w_k: of a cell to the air, [modules].
        conduction_w_k: from a cell to the next, [modules].
        radiating: a free surface, which loses more than `loss_w_k` once it is hot.
        cooling_left: part of the loss that is left after a cooling failure, [modules].
        weak: the cell with the fault, [modules].
        short_ohm, short_end_ohm, short_tau_s: an internal short that falls from one resistance to the other, [modules].
        overcharge_c: charging rate (1/h) at the weak module; heat beyond 100 %, [modules].
        charge_from_percent: state of charge that overcharging begins at, [modules].
        wall_c: temperature of a hot thing beside cell 0 on a grid of `GRID_S`, [modules, k]; the last value holds on.
        wall_w_k: how well it is connected, [modules].
        burst_pa: pressure at which a cell vents, [modules].
    """

    cell: Cell
    series: int
    parallel: int
    start_c: Float
    soc_percent: Float
    air_c: Float
    usual_c: Float
    load_w: Float
    loss_w_k: Float
    conduction_w_k: Float
    radiating: bool
    cooling_left: Float
    weak: Rows
    short_ohm: Float
    short_end_ohm: Float
    short_tau_s: Float
    overcharge_c: Float
    charge_from_percent: Float
    wall_c: Float
    wall_w_k: Float
    burst_pa: Float


@dataclass
class Courses:
    """What became of modules, on a grid of `GRID_S` from the beginning; arrays [modules, k] unless said otherwise.

    Attributes:
        mean_c: mean surface temperature.
        hot_c: surface of the hottest group of cells: where the hottest thermistor sits.
        core_c: hottest cell's own temperature.
        side_c: temperature of the outermost cell that a neighbour sees.
        volt_v: change of the module's voltage by the fault.
        gas_mol: CO, H2 and organic gases set free so far, [modules, k, 3].
        no_return_s: [modules], infinite if never.
        vent_s: [modules], when the first cell vents, infinite if never.
        tenth_s: [modules, 3], when a tenth of the weak cell's SEI, anode, cathode had reacted; infinite if never.
    """

    mean_c: Float
    hot_c: Float
    core_c: Float
    side_c: Float
    volt_v: Float
    gas_mol: Float
    no_return_s: Float
    vent_s: Float
    tenth_s: Float

    @classmethod
    def empty(cls, modules: int, points: int) -> "Courses":
        """Room for `points` of each module."""
        plain = [np.zeros((modules, points)) for _ in range(5)]
        never = [np.full(modules, np.inf) for _ in range(2)]
        return cls(*plain, np.zeros((modules, points, 3)), *never, np.full((modules, 3), np.inf))

    def note(self, trials: Trials, state: "_State", rows: Rows, point: Rows) -> None:
        """Keep what modules `rows` are at now as their `point`, and as all that follow."""
        surface = state.surface[rows]
        groups = surface.reshape(len(rows), trials.series, trials.parallel).mean(axis=2)
        self.mean_c[rows, point], self.hot_c[rows, point] = surface.mean(axis=1), groups.max(axis=1)
        self.core_c[rows, point], self.side_c[rows, point] = state.temp[rows].max(axis=1), state.temp[rows, -1]
        self.volt_v[rows, point], self.gas_mol[rows, point] = -state.drop_v[rows], state.gas[rows]
        weak = trials.weak[rows]
        tenth_left = [part[rows, weak] / start for part, start in zip(state.contents, 0.9 * abuse.START, strict=False)]
        tenth_left[abuse.CATHODE] = (1 - state.contents.cathode[rows, weak]) / (0.9 * (1 - abuse.START[abuse.CATHODE]))
        used = np.stack(tenth_left[:3], axis=1) <= 1
        self.tenth_s[rows] = np.where(
            used, np.minimum(self.tenth_s[rows], state.time_s[rows, None]), self.tenth_s[rows]
        )

    def until(self, points: int) -> "Courses":
        """The first `points` only."""
        cut = (getattr(self, n)[:, :points] for n in ("mean_c", "hot_c", "core_c", "side_c", "volt_v", "gas_mol"))
        return Courses(*cut, self.no_return_s, self.vent_s, self.tenth_s)


class _State:
    """All that changes, one row a module."""

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
        self.drop_v = np.zeros(modules)
        self.time_s = np.zeros(modules)
        self.fast_s = np.zeros(modules)
        self.rate = np.zeros(modules)
        self.no_return_s = np.full(modules, np.inf)
        self.vent_s = np.full(modules, np.inf)


def vapour_pressure_pa(temp_c: Float) -> Float:
    """Of dimethyl carbonate, the most volatile solvent (Clausius-Clapeyron: boils at 90 degrees C, 33 kJ/mol)."""
    return np.asarray(101_325 * np.exp(33_000 / GAS_CONSTANT * (1 / 363.15 - 1 / (temp_c + KELVIN))))


def _step(trials: Trials, state: _State, rows: Rows, time_s: Float, dt_s: Float) -> None:
    """Advance the modules `rows` by their own `dt_s` from their own `time_s`."""
    cell, t = trials.cell, state.temp[rows]
    minute = np.minimum((time_s / TABLE_S).astype(np.int64), trials.air_c.shape[1] - 1)
    air = trials.air_c[rows, minute][:, None]
    at = np.arange(len(rows)), trials.weak[rows]
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
    watts[:, 0] += trials.wall_w_k[rows] * (wall - t[:, 0])

    grown = np.minimum(time_s / trials.short_tau_s[rows], 1.0)
    start, end = trials.short_ohm[rows], trials.short_end_ohm[rows]
    shorted = np.isfinite(start)
    ohm = np.where(shorted, start, 1.0) ** (1 - grown) * np.where(shorted, end, 1.0) ** grown
    inner = cell.resistance_ohm / trials.parallel
    volt = open_circuit_voltage_v(state.group_soc[rows])
    amp = np.where(shorted & (state.group_soc[rows] > 0), volt / (ohm + inner), 0.0)
    state.group_soc[rows] -= amp * dt_s / 36 / (cell.capacity_ah * trials.parallel)
    watts[at] += amp * volt

    rate = trials.overcharge_c[rows]
    charging = (rate > 0) & ~failed[:, 0]
    beyond = np.maximum(state.charged[rows] - 100, 0)
    state.charged[rows] += np.where(charging, rate * dt_s / 36, 0.0)
    over_v = 0.010 * beyond + 0.004 * np.maximum(beyond - 15, 0)
    watts += np.where(charging, rate * cell.capacity_ah * over_v, 0.0)[:, None]

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
    held = open_circuit_voltage_v(trials.soc_percent[rows])
    sag = np.where(groups > 0, 0.0, held - (volt - amp * inner)) - np.where(charging, over_v * trials.series, 0.0)
    state.drop_v[rows] = np.where(shorted | charging, sag, 0.0) + groups * held
    _judge(state, rows, state.temp[rows].max(axis=1), t.max(axis=1), time_s, dt_s)


def _judge(state: _State, rows: Rows, now_c: Float, before_c: Float, time_s: Float, dt_s: Float) -> None:
    rate = (now_c - before_c) / dt_s
    state.rate[rows] = rate
    state.fast_s[rows] = np.where(rate >= NO_RETURN_RATE_C_S, state.fast_s[rows] + dt_s, 0.0)
    lost = (now_c >= NO_RETURN_C) | (state.fast_s[rows] >= SUSTAINED_S)
    state.no_return_s[rows] = np.where(
        lost, np.minimum(state.no_return_s[rows], time_s + dt_s), state.no_return_s[rows]
    )


def _gas(trials: Trials, state: _State, rows: Rows, time_s: Float) -> None:
    """Gas of the reactions in the `GRID_S` until `time_s` builds pressure in a closed cell and leaves an open one."""
    ah, t = trials.cell.capacity_ah, state.temp[rows]
    shares = state.burnt_j_m3[:, rows] / (abuse.HEAT_J_M3 * np.array([0.15, 0.75, 0.96, 1.0])).reshape(4, 1, 1)
    burnt = (shares[abuse.ANODE] + shares[abuse.CATHODE] + shares[abuse.ELECTROLYTE]) / 3
    made = shares[abuse.SEI][..., None] * (SEI_GAS_MOL_AH * _SEI_MIX) + burnt[..., None] * (GAS_MOL_AH * _RUNAWAY_MIX)
    pent = state.pent[rows] + made * ah
    void_m3 = _VOID_SHARE * trials.cell.volume_m3
    # Half of what is made (CO2 above all) is none of the three gases.
    pressure = vapour_pressure_pa(t) + 2 * pent.sum(axis=2) * GAS_CONSTANT * (t + KELVIN) / void_m3
    vented = state.vented[rows] | (pressure > trials.burst_pa[rows, None])
    opened = vented.any(axis=1)
    state.vent_s[rows] = np.where(opened, np.minimum(state.vent_s[rows], time_s), state.vent_s[rows])
    steam = np.where(vented & (t > 70), state.solvent[rows] * (1 - np.exp(-GRID_S / _EVAPORATION_TAU_S)), 0.0)
    state.solvent[rows] -= steam
    free = np.where(vented[..., None], pent, 0.0)
    state.gas[rows] += free.sum(axis=1)
    state.gas[rows, 2] += steam.sum(axis=1)
    state.pent[rows] = pent - free
    state.vented[rows] = vented


def _cuts(state: _State, rows: Rows) -> Rows:
    """Into how many steps the next `GRID_S` is cut: more while it is hot, most around the point of no return."""
    hottest = state.temp[rows].max(axis=1)
    burning = (state.contents.anode[rows] * (state.temp[rows] > 100)).max(axis=1) > 0.02
    lively = ((hottest > 110) & burning) | (state.rate[rows] > 0.1)
    past = state.time_s[rows] > state.no_return_s[rows] + 120
    sharp = ((hottest > 135) | (state.rate[rows] > 0.3)) & ~past
    return np.where(lively, np.where(sharp, 10, 2), 1)


def solve(trials: Trials, *, hours: float, after_s: float = 3600.0) -> Courses:
    """Integrate each module until `after_s` past its point of no return, or for `hours`.

    Each module has its own clock and step, so that the slow ones do not wait for the quick.

    Args:
        trials: what is done.
        hours: longest time covered.
        after_s: 0 to know the point of no return only.
    """
    state = _State(trials)
    modules = len(trials.start_c)
    steps = round(hours * 3600 / GRID_S)
    kept = Courses.empty(modules, steps + 1)
    point = np.zeros(modules, np.int64)
    left = np.zeros(modules, np.int64)
    dt_s = np.full(modules, GRID_S)
    while True:
        if (due := (left == 0).nonzero()[0]).size:
            if (warm := due[state.temp[due].max(axis=1) > _REACTING_C]).size:
                _gas(trials, state, warm, state.time_s[warm])
                state.burnt_j_m3[:, warm] = 0
            kept.note(trials, state, due, point[due])
            left[due] = _cuts(state, due)
            dt_s[due] = GRID_S / left[due]
            done = (point[due] >= steps) | (state.time_s[due] >= state.no_return_s[due] + after_s)
            left[due[done]] = -1
        going = (left > 0).nonzero()[0]
        if not going.size:
            break
        _step(trials, state, going, state.time_s[going], dt_s[going])
        state.time_s[going] += dt_s[going]
        left[going] -= 1
        point[going[left[going] == 0]] += 1
    kept.no_return_s, kept.vent_s = state.no_return_s, state.vent_s
    return kept.until(int(point.max()) + 1)
