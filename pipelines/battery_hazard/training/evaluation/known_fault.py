"""Detectors that know more than a model can: how much the readings tell of a fault. See docs/model.md.

- One knows this fault, when it began, and what the module would show without it: only the noise of the sensors is in
  its way. By the lemma of Neyman and Pearson (1933), no detector finds more faults with as few false alarms.
- The other knows the kind of fault by examples, and normal operation by means and covariances. It is a bank of filters,
  one for each example. Nothing else is known to it, so readings hold at least as much as it finds in them.
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
_STRICTNESS = 0.5
"""Limits are this share of the way from the highest cosine in normal operation to 1."""
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
    """Examples of a kind of fault, and how much readings must resemble one for an alarm.

    Windows are whitened: values in normal operation have no correlation and a deviation of 1 then. Readings that have
    gone more than half the way to an example, and in nearly its direction, raise an alarm. The direction is the
    adaptive cosine estimator of Kraut and Scharf (1999); unlike the way, it does not grow with a sensor's wrong values.

    Attributes:
        mean, whitening: of normal operation, [d] and [d, d].
        examples: whitened windows of what faults add, [e, d].
        limits: cosine of the angle to each example that readings must exceed, [e].
    """

    mean: Float
    whitening: Float
    examples: Float
    limits: Float

    @classmethod
    def learnt(cls, examples: Float, normal: Float) -> "Bank":
        """The bank of examples [e, d], whitened by the covariance of windows of normal operation [m, d]."""
        mean, scale = normal.mean(axis=0), normal.std(axis=0) + 1e-9
        correlation = np.cov((normal - mean) / scale, rowvar=False) + _RIDGE * np.eye(len(scale))
        whitening = np.linalg.inv(np.linalg.cholesky(correlation)).T / scale[:, None]
        return cls(mean, whitening, examples @ whitening, np.zeros(len(examples)))

    def raised(self, normal: Float) -> "Bank":
        """The bank with limits beyond the highest cosine in this normal operation [m, d], if they are not there yet."""
        far, cosine = self._seen(self._white(normal))
        highest = np.where(far, cosine, 0.0).max(axis=0)
        return replace(self, limits=np.maximum(self.limits, highest + _STRICTNESS * (1 - highest)))

    def alarms(self, values: Float) -> Bool:
        """Whether any example raises an alarm at each window [m, d], [m]."""
        return np.asarray(self._resembled(self._white(values)).any(axis=1))

    def found(self, normal: Float) -> Float:
        """Share of these windows of normal operation [m, d] in which each example would be found by the others, [e]."""
        white = self._white(normal)
        alike = [self._resembled(white + example) for example in self.examples]
        return np.array([np.delete(each, i, axis=1).any(axis=1).mean() for i, each in enumerate(alike)])

    def _white(self, values: Float) -> Float:
        return np.asarray((values - self.mean) @ self.whitening)

    def _resembled(self, white: Float) -> Bool:
        far, cosine = self._seen(white)
        return np.asarray(far & (cosine > self.limits))

    def _seen(self, white: Float) -> tuple[Bool, Float]:
        """Whether each window has gone half the way to each example, and the cosine of the angle to it, [m, e]."""
        way, length = white @ self.examples.T, np.linalg.norm(self.examples, axis=1)
        far = np.linalg.norm(white, axis=1, keepdims=True)
        return way > length**2 / 2, way / (far * length)
