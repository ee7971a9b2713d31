"""Thermal runaway of one module: a lumped self-heating model, what its sensors see, and the ground truth.

An internal short that grows heats the module slowly until the decomposition reactions (one lumped Arrhenius
term with the activation energy of SEI and anode decomposition, 1.35e5 J/mol: Hatchard et al. 2001; Kim, Pesaran &
Spotnitz 2007) carry the temperature away exponentially, and the fuel is used up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GRID_S = 7200
_LOSS_TAU_S = 1800.0
_EA_OVER_R_K = 1.3508e5 / 8.314
_SELF_HEATING_AT_110_C = 0.1
"""Self-heating at 110 degrees C, degrees a second: the order of accelerating-rate calorimetry of NMC and LCO cells."""
_ADIABATIC_C = 650.0
"""Rise when all fuel burns without loss: peaks then lie at 600 to 800 degrees C, as in cell tests."""
_SHORT_HEATS_C = 105.0
"""The short alone brings the cell this far above its surroundings in the time it takes to develop."""
_NO_RETURN_C = 150.0
_NO_RETURN_RATE_C_S = 1.0
_SUSTAINED_S = 3
"""GB 38031-2020: a rise of at least 1 degree C a second for more than 3 s."""
_GAS_LAG_S = np.array([300.0, 100.0, 50.0])
"""Response time of CO, H2 (catalytic) and VOC (photo-ionisation) sensors."""


@dataclass(frozen=True)
class Fault:
    """Ground truth of one developing fault.

    Attributes:
        module: row of the module in a step.
        onset_ts: when the short began, ms since the Unix epoch.
        no_return_ts: point of no return, ms: the hottest cell passes 150 degrees C, or rises by at least 1 degree C
        a second for 3 s, whichever is first.
        vents_early: gas escapes minutes before the point of no return (else only with it).
    """

    module: int
    onset_ts: int
    no_return_ts: int
    vents_early: bool


@dataclass(frozen=True)
class Runaways:
    """All faults of a fleet, ready to be laid over healthy readings. Arrays have one row a fault.

    Attributes:
        excess_c: [faults, 7200] float32, hottest cell above its healthy temperature, each second from the onset.
        share: [faults] part of that excess which the mean surface temperature shows.
        sag: [faults] part of the voltage that the short takes away by the point of no return.
        gas_ts: [faults] ms, when gas begins to escape.
        peak_ppm: [faults, 3] CO, H2, VOC.
        dies_ts: [faults, 9] ms, when each sensor dies.
    """

    faults: list[Fault]
    module: NDArray[np.int64]
    onset_ts: NDArray[np.int64]
    no_return_ts: NDArray[np.int64]
    excess_c: NDArray[np.float32]
    share: NDArray[np.float64]
    sag: NDArray[np.float64]
    gas_ts: NDArray[np.int64]
    peak_ppm: NDArray[np.float64]
    dies_ts: NDArray[np.int64]

    def apply(self, values: NDArray[np.float64], ts_ms: int) -> None:
        """Lay the faults over healthy `values` [modules, 9] at `ts_ms`, in place, before noise."""
        if not self.faults or ts_ms < self.onset_ts[0]:
            return
        since_s = (ts_ms - self.onset_ts) / 1000
        on = np.flatnonzero(since_s >= 0)
        since_s, module = since_s[on], self.module[on]
        at = np.minimum(since_s.astype(np.int64), _GRID_S - 1)
        # Past the computed hours the module only cools.
        excess = self.excess_c[on, at] * np.exp(-np.maximum(since_s - _GRID_S, 0) / _LOSS_TAU_S)
        values[module, 0] += self.share[on] * excess
        values[module, 1] += excess
        after_s = (ts_ms - self.no_return_ts[on]) / 1000
        grown = np.clip(since_s / (since_s - after_s), 0, 1)
        # The short discharges its cell group, then the runaway tears the module's voltage down.
        intact = np.exp(-np.maximum(after_s, 0) / 30)
        values[module, 2] *= (1 - self.sag[on] * grown**2) * intact
        values[module, 3] *= intact
        gas_s = np.maximum((ts_ms - self.gas_ts[on]) / 1000, 0)[:, None]
        strength = np.where(after_s >= 0, 1.0, 0.25)[:, None]
        values[module, 5:8] += self.peak_ppm[on] * strength * (1 - np.exp(-gas_s / _GAS_LAG_S))
        dead = ts_ms >= self.dies_ts[on]
        values[module] = np.where(dead, np.nan, values[module])


def _heat(
    healthy_c: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]],
    module: NDArray[np.int64],
    onset_ts: NDArray[np.int64],
    develops_s: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Integrate the excess temperature [faults, 7200], and find the second of no return [faults]."""
    excess = np.zeros((len(module), _GRID_S), np.float32)
    no_return = np.full(len(module), _GRID_S, np.int64)
    level, fuel, fast_s = np.zeros(len(module)), np.ones(len(module)), np.zeros(len(module), np.int64)
    base = np.zeros(len(module))
    for second in range(_GRID_S):
        excess[:, second] = level
        if second % 10 == 0:
            base = healthy_c(module, onset_ts + second * 1000)
        hot_c = base + level
        short = 2 * _SHORT_HEATS_C / develops_s * np.minimum(second / develops_s, 1.5) * (fuel > 0.5)
        rate = _SELF_HEATING_AT_110_C * np.exp(_EA_OVER_R_K * (1 / 383.15 - 1 / (hot_c + 273.15)))
        burnt = np.minimum(rate / _ADIABATIC_C, 0.08) * fuel
        change = short + burnt * _ADIABATIC_C - level / _LOSS_TAU_S
        fast_s = np.where(change >= _NO_RETURN_RATE_C_S, fast_s + 1, 0)
        lost = (hot_c >= _NO_RETURN_C) | (fast_s >= _SUSTAINED_S)
        no_return = np.where(lost, np.minimum(no_return, second), no_return)
        fuel -= burnt
        level = level + change
    return excess, no_return


def draw_runaways(
    modules: int,
    faults: int,
    healthy_c: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]],
    *,
    start_ms: int,
    span_ms: int,
    rng: np.random.Generator,
) -> Runaways:
    """Draw `faults` runaways on different modules and integrate their temperatures.

    Args:
        modules: modules in the fleet.
        faults: how many of them fail.
        healthy_c: temperature without fault of the given modules at the given times (ms).
        start_ms: event time of the run's first step.
        span_ms: points of no return fall at about 0.3 to 0.9 of it.
        rng: source of everything random.
    """
    module = rng.permutation(modules)[:faults].astype(np.int64)
    develops_s = rng.uniform(15, 40, faults) * 60
    # Stratified: however few, they are spread over the run.
    where = (np.arange(faults) + rng.random(faults)) / max(faults, 1)
    onset = start_ms + ((0.3 + 0.6 * where) * span_ms).astype(np.int64) - (develops_s * 1000).astype(np.int64)
    order = np.argsort(onset, kind="stable")
    module, develops_s, onset = module[order], develops_s[order], onset[order]
    excess, no_return_s = _heat(healthy_c, module, onset, develops_s)
    no_return = onset + no_return_s * 1000
    early = rng.random(faults) < 0.6
    lead_ms = np.where(early, rng.uniform(3, 12, faults) * 60_000, 0).astype(np.int64)
    peak = rng.lognormal(0, 0.4, (faults, 3)) * np.array([800.0, 1500.0, 3000.0])
    # In most fires the sensors burn within minutes; the rack's own thermometer often outlives them.
    dies = no_return[:, None] + rng.uniform(20_000, 300_000, (faults, 9)).astype(np.int64)
    survives = rng.random((faults, 9)) < np.array([0.15] * 8 + [0.6])
    dies = np.where(survives, np.iinfo(np.int64).max, dies)
    truth = [Fault(int(m), int(o), int(n), bool(e)) for m, o, n, e in zip(module, onset, no_return, early, strict=True)]
    return Runaways(
        truth,
        module,
        onset,
        no_return,
        excess,
        rng.uniform(0.55, 0.9, faults),
        rng.uniform(0.01, 0.05, faults),
        no_return - lead_ms,
        peak,
        dies,
    )
