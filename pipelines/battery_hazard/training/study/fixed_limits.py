"""Fixed limits on the hottest temperature, which a model must beat on recordings of destructive tests.

A limit is "rises by X °C/s over 10 s and has reached Y °C, or has reached Z °C".
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from common.arrays import Bool, Float

RISES_C_S = (0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, np.inf)
FROM_C = (0, 30, 40, 50, 60, 70, 80)
REACHED_C = (60, 70, 80, 90, 100, 110, 120, 130, 140, np.inf)
_RISE_OVER_S = 10.0


def rise_c_s(t_s: Float, hottest_c: Float) -> Float:
    """Rise since the last reading that is 10 s old or older [n], °C/s. Where there is none: 0.

    Args:
        t_s: times of the readings, ascending, shape [n].
        hottest_c: hottest temperature, shape [n].
    """
    before = np.searchsorted(t_s, t_s - _RISE_OVER_S, side="right") - 1
    since = np.maximum(before, 0)
    return np.where(before >= 0, (hottest_c - hottest_c[since]) / np.maximum(t_s - t_s[since], _RISE_OVER_S), 0.0)


def first_hits(t_s: Float, hottest_c: Float) -> Float:
    """When each of the limits is first reached [limits], s; infinite if never. The order is that of `product`.

    Args:
        t_s: times of the readings, ascending, shape [n].
        hottest_c: hottest temperature, shape [n].
    """
    rise = rise_c_s(t_s, hottest_c)
    rising = [first(t_s, (rise >= at) & (hottest_c >= from_c)) for at, from_c in product(RISES_C_S, FROM_C)]
    reached = [first(t_s, hottest_c >= at) for at in REACHED_C]
    return np.minimum.outer(rising, reached).ravel()


def first(t_s: Float, hit: Bool) -> float:
    """The first time at which something holds; infinite if never."""
    return float(t_s[int(np.argmax(hit))]) if len(hit) and hit.any() else np.inf


def best_found(hits_s: Float, onset_s: Float, within_s: float, false_alarms: Sequence[int]) -> list[int]:
    """The most runaways that any limit finds in time, for each number of false alarms at most.

    Args:
        hits_s: as `first_hits`, by test, shape [tests, limits].
        onset_s: of the runaway of each test, NaN if there is none, shape [tests].
        within_s: how long after the onset an alarm is in time.
        false_alarms: the numbers.
    """
    ran_away = ~np.isnan(onset_s)
    false = np.isfinite(hits_s[~ran_away]).sum(axis=0)
    found = (hits_s[ran_away] <= onset_s[ran_away, None] + within_s).sum(axis=0)
    return [int(found[false <= most].max(initial=0)) for most in false_alarms]
