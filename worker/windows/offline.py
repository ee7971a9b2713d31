"""The worker's own feature kernel on recorded data, for training and backtests."""

import numpy as np

from common.arrays import Float, Int
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import KeyedState

CHUNK = 8192  # readings at a time: bounds memory, changes no bit of the result


def offline_features(spec: FeatureSpec, key: Int, ts: Int, values: Float, scales: Float) -> tuple[Float, Int]:
    """Features of recorded readings, in the order given (the order in which a worker would consume them).

    Args:
        spec: the features.
        key: index of each reading's key, 0 to k-1, shape [n].
        ts: event time in ms, shape [n].
        values: sensors in the order of `spec.sensors`, raw units, NaN where missing, shape [n, sensors].
        scales: divisor of each sensor by key (`FeatureSpec.scales`), shape [k, sensors].

    Returns:
        Features [m, f] of the accepted readings and their row numbers [m]; duplicates and late readings are left out.
    """
    state = KeyedState(spec)
    slots = state.allocate(int(key.max()) + 1 if len(key) else 0)
    clock = np.maximum.accumulate(ts)
    features, rows = [np.empty((0, len(spec.names)))], [np.empty(0, np.int64)]
    for start in range(0, len(ts), CHUNK):
        part = slice(start, start + CHUNK)
        staged = state.stage(slots[key[part]], ts[part], clock[part], values[part] / scales[key[part]])
        features.append(staged.features())
        state.merge(staged)
        rows.append(staged.row + start)
    return np.concatenate(features), np.concatenate(rows)
