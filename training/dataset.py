"""Labelled readings from simulated fleets, with the features the worker computes.

A fleet is the unit of everything: it is drawn from a seed, and belongs as a whole to training, validation or
test, so that no event (and no module) is seen on both sides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.fleet import SENSORS, Fleet
from producers.truth import Fault
from training.battery import FEATURES, SITES, TOPOLOGY
from worker.features import Bool, Float, Int
from worker.offline import offline_features

HAZARD, NORMAL, LEFT_OUT = 1, 0, -1

WARNING_MS = 20 * 60_000
"""A reading counts as hazardous from 20 minutes before the point of no return."""
TOO_LATE_MS = 30_000
"""An alarm later than 30 s before the point of no return is no warning."""
AFTERMATH_MS = 10 * 60_000
"""A burning module is still a hazard: positive for so long after the point of no return."""
PERIOD_MS = 10_000
_EPOCH_MS = 1_750_000_000_000
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class LabelledFleet:
    """Readings of one fleet in order of time, duplicates and silent modules left out.

    Attributes:
        key: module of each reading, 0 to modules-1, shape [n].
        ts: event time, ms, shape [n].
        features: as the worker computes them, shape [n, f].
        label: HAZARD, NORMAL or LEFT_OUT, shape [n].
        faults: ground truth.
    """

    key: Int
    ts: Int
    features: Float
    label: NDArray[np.int8]
    faults: list[Fault]


def labels(key: Int, ts: Int, faults: list[Fault]) -> NDArray[np.int8]:
    """Label readings by ground truth, shape [n].

    HAZARD from 20 minutes before the point of no return, though not before the fault began, until 10 minutes
    after it. LEFT_OUT is what nobody could blame a model for either way: a fault younger than that, and the
    wreck later. All else is NORMAL.
    """
    label = np.full(len(ts), NORMAL, np.int8)
    for fault in faults:
        affected = (key == fault.module) & (ts >= fault.onset_ts)
        label[affected] = LEFT_OUT
        near = (ts >= fault.no_return_ts - WARNING_MS) & (ts < fault.no_return_ts + AFTERMATH_MS)
        label[affected & near] = HAZARD
    return label


def lacking_sensors(modules: int, rng: np.random.Generator) -> Bool:
    """Sensors that a module's site does not have, drawn by the shares in `SITES`, shape [modules, sensors]."""
    shares = np.array([share for share, _ in SITES.values()])
    lacking = np.array([[sensor in absent for sensor in SENSORS] for _, absent in SITES.values()])
    drawn: Bool = lacking[rng.choice(len(shares), modules, p=shares)]
    return drawn


def simulate_fleet(seed: int, *, modules: int, faults: int, healthy: int, hours: float) -> LabelledFleet:
    """Simulate a fleet from a random time of day on, and compute features and labels of some of its modules.

    The modules of a rack live alike, so a few healthy ones from many racks teach more than all from a few.

    Args:
        seed: same seed, same result.
        modules: modules in the fleet, in racks of 8.
        faults: how many of them develop a runaway; all of these are in the result.
        healthy: how many of the others are.
        hours: event time covered.
    """
    rng = np.random.default_rng([seed, 1])
    span_ms = round(hours * 3_600_000)
    start_ms = _EPOCH_MS + int(rng.integers(0, _DAY_MS, dtype=np.int64)) // PERIOD_MS * PERIOD_MS
    fleet = Fleet(modules, seed, faults=faults, start_ms=start_ms, span_ms=span_ms, period_ms=PERIOD_MS)
    steps = list(fleet.steps(span_ms // PERIOD_MS))
    ts = np.concatenate([step.ts for step in steps])
    values = np.concatenate([step.values for step in steps])
    key = np.tile(np.arange(modules), len(steps))
    values[lacking_sensors(modules, rng)[key]] = np.nan
    faulty = np.array([fault.module for fault in fleet.faults], np.int64)
    others = rng.permutation(np.setdiff1d(np.arange(modules), faulty))[:healthy]
    sent = np.isin(key, np.concatenate((faulty, others))) & ~np.isnan(values).all(axis=1)
    key, ts, values = key[sent], ts[sent], values[sent]
    scales = np.tile(FEATURES.scales(TOPOLOGY), (modules, 1))
    features, rows = offline_features(FEATURES, key, ts, values, scales)
    order = np.argsort(rows)  # the kernel groups readings by module
    features, rows = features[order], rows[order]
    return LabelledFleet(key[rows], ts[rows], features, labels(key[rows], ts[rows], fleet.faults), fleet.faults)
