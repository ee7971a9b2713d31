"""Detectors that know more than a model can: how much the readings tell of a fault. See docs/model.md.

- One knows this fault, when it began, and what the module would show without it: only the noise of the sensors is in
  its way. By the lemma of Neyman and Pearson (1933), no detector finds more faults with as few false alarms.
- The other knows the kind of fault by examples, and normal operation by means and covariances. It is a bank of matched
  filters, one for each example. Nothing else is known to it, so readings hold at least as much as it finds in them.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from common.arrays import Bool, Float, Int
from pipelines.battery_hazard.simulator.events.effects import lay
from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.plant.sensing import COUNT

SPANS = (1, 1, 2, 2, 6, 6, 12)
"""Readings that a window's means are of, the latest first: 5 minutes at one in 10 s, as the model has."""
WINDOW = sum(SPANS)
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
class Bank:
    """Matched filters: each is the linear one that best tells its example from normal operation.

    Attributes:
        examples: windows of what faults add, [e, d].
        filters: one for each example, [d, e].
        limits: value that each filter must exceed for an alarm, [e].
    """

    examples: Float
    filters: Float
    limits: Float

    @classmethod
    def learnt(cls, examples: Float, normal: Float) -> "Bank":
        """The filters for examples [e, d], with the covariance of windows of normal operation [m, d].

        The limit is half of what the filter gives its own example: nearer to that than to normal operation.
        """
        scale = normal.std(axis=0) + 1e-9
        correlation = np.cov((normal - normal.mean(axis=0)) / scale, rowvar=False) + _RIDGE * np.eye(len(scale))
        filters = np.linalg.solve(correlation, (examples / scale).T) / scale[:, None]
        return cls(examples, filters, (examples * filters.T).sum(axis=1) / 2)

    def raised(self, normal: Float) -> "Bank":
        """The bank that raises no alarm in this normal operation [m, d] either."""
        return replace(self, limits=np.maximum(self.limits, (normal @ self.filters).max(axis=0)))

    def alarms(self, values: Float) -> Bool:
        """Whether any filter raises an alarm at each window [m, d], [m]."""
        return np.asarray((values @ self.filters > self.limits).any(axis=1))

    def found(self, normal: Float) -> Float:
        """Share of these windows of normal operation [m, d] in which each example would be found by the others, [e]."""
        score, gain = normal @ self.filters, self.examples @ self.filters
        over = [score + shift > self.limits for shift in gain]
        return np.array([np.delete(each, i, axis=1).any(axis=1).mean() for i, each in enumerate(over)])
