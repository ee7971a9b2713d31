"""Detectors that know which fault a module has, and when it began: no model can know as much. See docs/model.md.

Both decide at one reading, on that reading and all before it, and may be wrong in a share `level` of the cases without
the fault.

- One that also knows what the module would show without the fault: only the noise of the sensors hides the fault. By
  the lemma of Neyman and Pearson (1933), no detector finds more faults at this level.
- One that must tell the fault from normal operation, of which it knows means and covariances: a matched filter.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from common.arrays import Float, Int
from pipelines.battery_hazard.simulator.events.effects import lay
from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.plant.sensing import COUNT

SPANS = (1, 1, 2, 2, 6, 6, 12, 30, 60, 60, 180)
"""Readings that a window's means are of, the latest first: an hour at one in 10 s."""
_RIDGE = 1e-6
_NOBODY = np.zeros(0, np.int64)


def signal_of(event: Event, ts: Int) -> Float:
    """What an event adds to the readings of its module, without noise, [n, 13], at the times `ts` [n] (ms)."""
    added = np.zeros((len(ts), 1, COUNT))
    lay(replace(event, module=0), added, ts, _NOBODY, np.zeros(0))
    return added[:, 0]


def found_in_noise(signal: Float, noise: Float, level: float) -> float:
    """Probability that a signal that is known is found in noise that is normal and independent.

    The likelihood ratio has a normal distribution then, so nothing need be simulated. Rounding and lost readings only
    take information away; they are left out, and the result stays an upper bound.

    Args:
        signal: added to each reading of each sensor, [n, s].
        noise: standard deviation of each sensor, [s]; one without noise (it shows no signal either) is left out.
        level: probability that it is "found" without being there.
    """
    noisy = noise > 0
    distance = np.sqrt(((signal[:, noisy] / noise[noisy]) ** 2).sum())
    return float(stats.norm.sf(stats.norm.isf(level) - distance))


def windows(values: Float, last: Int) -> Float:
    """Means over `SPANS` up to each row `last` [m] of readings [n, s], [m, s * spans].

    A lost value is replaced by the last one before it, or by the first one after it if there is none.
    """
    known = ~np.isnan(values)
    row = np.arange(len(values))[:, None]
    before = np.maximum.accumulate(np.where(known, row, -1), axis=0)
    filled = np.take_along_axis(values, np.where(before < 0, known.argmax(axis=0), before), axis=0)
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(filled, axis=0)])
    ends = last[:, None] + 1 - np.concatenate([[0], np.cumsum(SPANS)])
    means = (total[ends[:, :-1]] - total[ends[:, 1:]]) / np.array(SPANS)[:, None]
    return np.asarray(means.transpose(0, 2, 1).reshape(len(last), -1))


@dataclass(frozen=True)
class NormalOperation:
    """Windows of normal operation: some to learn its covariance from, [m, d], and others to measure on, [k, d]."""

    learnt: Float
    measured: Float

    def of(self, columns: Int) -> "NormalOperation":
        """Some columns."""
        return NormalOperation(self.learnt[:, columns], self.measured[:, columns])

    def filters(self, signals: Float) -> Float:
        """The matched filter of each signal [e, d]: the linear one that best tells it from normal operation, [d, e]."""
        scale = self.learnt.std(axis=0) + 1e-9
        correlation = np.cov((self.learnt - self.learnt.mean(axis=0)) / scale, rowvar=False)
        correlation += _RIDGE * np.eye(len(scale))
        return np.asarray(np.linalg.solve(correlation, (signals / scale).T) / scale[:, None])

    def found(self, signals: Float, levels: Float) -> Float:
        """Probability that each signal [e, d] is found, [e], at its level [e].

        Threshold and probability are those of the measured windows, so neither needs a normal distribution.
        """
        filters = self.filters(signals)
        found = np.empty(len(signals))
        for i, (signal, level) in enumerate(zip(signals, levels, strict=True)):
            score = np.sort(self.measured @ filters[:, i])
            threshold = score[len(score) - 1 - int(level * len(score))]
            found[i] = (score + signal @ filters[:, i] > threshold).mean()
        return found
