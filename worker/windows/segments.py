"""Running totals of many short pieces of a batch at once, each added up in order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Int

_TOGETHER = 32  # longer pieces are finished one by one, at the speed of NumPy


def accumulate(ufunc: np.ufunc, values: NDArray[Any], start: Int) -> None:
    """Replace each value by the result for its segment up to it, strictly from left to right.

    So cutting a segment in two, and beginning the second part with the result of the first, gives the same bits.

    Args:
        ufunc: of two values.
        values: shape [n, columns], segment after segment. Changed in place.
        start: where each segment begins, ascending from 0, shape [s].
    """
    length = np.diff(start, append=len(values))
    for place in range(1, min(int(length.max(initial=0)), _TOGETHER)):
        rows = start[length > place] + place
        values[rows] = ufunc(values[rows - 1], values[rows])
    for segment in np.flatnonzero(length > _TOGETHER).tolist():
        rest = slice(int(start[segment]) + _TOGETHER - 1, int(start[segment] + length[segment]))
        values[rest] = ufunc.accumulate(values[rest], axis=0)
