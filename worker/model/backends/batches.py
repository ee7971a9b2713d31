"""Scores rows in calls of a size in which a row's score does not depend on the other rows.

Matrix products differ in the last bits with the number of rows: for one row a library takes another path than for a
thousand. With calls of one fixed size, filled up if need be, they do not.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from worker.model.backends.backend import Score
from worker.model.contract import Features

MOST_AT_ONCE = 8192
_ROUNDING = 1e-4  # of float32 sums, generously
SIZES = (None, 64, 1)
"""Rows in one call, in the order of preference; None: as many as there are, at most `MOST_AT_ONCE`."""


def sized(score: Score, size: int | None) -> Score:
    """The same scores, in calls of this many rows; see `SIZES`."""

    def scored(features: Features) -> NDArray[np.float64]:
        parts = []
        for rows in _calls(len(features), size or MOST_AT_ONCE):
            called = rows if size is None else np.resize(rows, size)  # filled up with rows of the same call
            parts.append(checked_shape(score(features.take(called)), len(called))[: len(rows)])
        return np.concatenate(parts)

    return scored


def _calls(rows: int, size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, rows, size):
        yield np.arange(start, min(start + size, rows))


def checked_shape(given: NDArray[np.generic], rows: int) -> NDArray[np.float64]:
    """An output as doubles, shape [rows] or [rows, classes]; a single column becomes [rows].

    Raises:
        ValueError: it has another shape, or does not consist of numbers.
    """
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim not in {1, 2} or len(given) != rows:
        raise ValueError(f"it gives an output of shape {given.shape} for {rows} rows; expected one result for each")
    if given.dtype.kind not in "fiub":
        raise ValueError(f"it gives {given.dtype} values, not numbers")
    return given.astype(np.float64)


def steady_size(score: Score, rows: Features) -> int | None:
    """The first of `SIZES` in which the score of each row is the same, bit for bit, whatever other rows come with it.

    Raises:
        ValueError: there is none: the model keeps state from call to call, or is random; or the rows of a call change
            each other's scores by more than rounding.
    """
    rng = np.random.default_rng(0)
    together, alone = sized(score, None)(rows), sized(score, 1)(rows)
    if not np.allclose(together, alone, rtol=_ROUNDING, atol=_ROUNDING * np.abs(together).max(), equal_nan=True):
        raise ValueError(
            "the score of a row depends on the other rows of its call, or changes from call to call; the model must "
            "score each row by itself, keep no state and draw no random numbers"
        )
    for size in SIZES:
        if _steady(sized(score, size), rows, rng):
            return size
    raise ValueError("the score of a row changes in its last digits from call to call")


def _steady(score: Callable[[Features], NDArray[np.float64]], rows: Features, rng: np.random.Generator) -> bool:
    first = score(rows)
    count = len(rows)
    orders = [np.arange(count), rng.permutation(count)]
    cuts = [[*range(1, 9)], [2, 5, 8, 11, 27, 64, 65], [33, 100]]  # calls of one row, of few, of many
    return all(
        np.array_equal(first[part], score(rows.take(part)), equal_nan=True)
        for order in orders
        for cut in [[], *cuts]
        for part in np.split(order, [at for at in cut if at < count])
    )
