"""Distances between two histograms (Kolmogorov-Smirnov, population stability index), and their p-value."""

import numpy as np
from scipy import stats

from common.arrays import Float, Int

_BINS_A_GROUP = 5
_LEAST_SHARE = 1e-3
"""An empty bin counts as this share, or a single reading would make the index infinite."""


def ks_distance(counts: Int, other: Int) -> Float:
    """Largest distance between the two distribution functions, over bins: slightly below that over readings.

    Args:
        counts: shape [..., width]. The last place counts readings without a value and is ignored.
        other: a shape that broadcasts with `counts`.

    Returns:
        Shape [...]; 0 where either is empty.
    """
    mine, theirs = (np.cumsum(c[..., :-1], axis=-1, dtype=np.float64) for c in (counts, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(mine / mine[..., -1:] - theirs / theirs[..., -1:]).max(axis=-1)
    return np.asarray(np.nan_to_num(apart))


def psi(counts: Int, other: Int) -> Float:
    """Population stability index: the sum of both relative entropies, over groups of five bins.

    By convention 0.1 is a notable shift and 0.25 a large one (Siddiqi 2006, Credit Risk Scorecards).
    Arguments and result as of `ks_distance`.
    """
    mine, theirs = (_shares(c) for c in np.broadcast_arrays(counts, other))
    apart = stats.entropy(mine, theirs, axis=-1) + stats.entropy(theirs, mine, axis=-1)
    known = (counts[..., :-1].sum(axis=-1) > 0) & (other[..., :-1].sum(axis=-1) > 0)
    return np.where(known, apart, 0.0)


def _shares(counts: Int) -> Float:
    groups = np.add.reduceat(counts[..., :-1], np.arange(0, counts.shape[-1] - 1, _BINS_A_GROUP), axis=-1)
    shares = np.maximum(groups / np.maximum(groups.sum(axis=-1, keepdims=True), 1), _LEAST_SHARE)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def ks_p_value(distance: Float, size: Float, other_size: Float) -> Float:
    """Probability of this distance or a larger one if both are samples of one distribution, as `scipy.stats.ks_2samp`.

    Args:
        distance: shape [...].
        size: number of independent observations of the sample, a shape that broadcasts with `distance`. Readings are
            not independent: an hour of a key counts as one.
        other_size: the same for the other sample.
    """
    effective = np.maximum(np.round(size * other_size / np.maximum(size + other_size, 1)), 1)
    return np.asarray(stats.kstwo.sf(distance, effective))
