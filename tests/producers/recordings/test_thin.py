"""Thinning: one reading per period, with the extreme of each sensor, however the readings are cut into pieces."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from common.arrays import Float
from producers.recordings.piece import Piece
from producers.recordings.thin import thinned

NAN = float("nan")


def piece(values: Sequence[Sequence[float]], key: Sequence[int] | None = None) -> Piece:
    """A reading each second."""
    n = len(values)
    keys = np.zeros(n, np.int64) if key is None else np.array(key)
    return Piece(keys, 1000 * np.arange(n), np.zeros(n, np.bool_), np.array(values, np.float64))


def thin(
    whole: Piece, every_ms: int = 5000, cuts: Sequence[int] = (), limits: tuple[Float, Float] | None = None
) -> Piece:
    ends = [0, *cuts, len(whole.key)]
    parts = [whole.take(slice(a, b)) for a, b in pairwise(ends)]
    keys = np.unique(whole.key).tolist()
    first = {k: int(whole.ts[whole.key == k][0]) for k in keys}
    made = list(thinned(parts, dict.fromkeys(keys, every_ms), first, limits))
    found = made[0]
    for other in made[1:]:
        found = found.followed_by(other)
    return found


@pytest.mark.parametrize(
    ("period", "kept"),
    [
        ([25, 25, 150, 25, 25], 150),  # a peak that is over when the period ends
        ([25, 2, 25, 25, 25], 2),
        ([26, 27, 28, 29, 30], 30),
        ([NAN, NAN, 24, NAN, NAN], 24),
        ([NAN] * 5, NAN),
    ],
)
def test_the_value_farthest_from_the_last_one_before_is_kept(period: list[float], kept: float) -> None:
    found = thin(piece([[value] for value in [25.0] * 5 + period]))
    assert found.ts.tolist() == [4000, 9000]
    np.testing.assert_array_equal(found.values[:, 0], [25, kept])


def test_a_peak_in_the_first_period_is_kept() -> None:
    assert thin(piece([[25], [150], [25], [25], [25]])).values.tolist() == [[150]]


def test_a_value_that_workers_mask_is_taken_only_if_there_is_no_other() -> None:
    whole = piece([[25], [25], [25], [25], [25], [25], [-9999], [26], [25], [25], *[[-9999]] * 5])
    found = thin(whole, limits=(np.array([-40.0]), np.array([200.0])))
    assert found.values[:, 0].tolist() == [25, 26, -9999]


def test_another_key_has_no_value_before() -> None:
    found = thin(piece([[25]] * 5 + [[60], [61], [60], [60], [60]], [0] * 5 + [1] * 5))
    assert (found.key.tolist(), found.values[:, 0].tolist()) == ([0, 1], [25, 61])


def test_a_period_of_0_keeps_all() -> None:
    whole = piece([[value] for value in range(12)])
    assert thin(whole, 0, [5]).values.tolist() == whole.values.tolist()


def test_cuts_change_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2))
    values[rng.random((200, 2)) < 0.6] = NAN
    whole = piece(values.tolist(), np.repeat([0, 1, 2, 3], [90, 3, 57, 50]).tolist())
    plain = thin(whole)
    for _ in range(30):
        cut = thin(whole, cuts=sorted(rng.choice(np.arange(1, 200), 6, replace=False).tolist()))
        for ours, theirs in zip(cut, plain, strict=True):
            np.testing.assert_array_equal(ours, theirs)
