"""Confidence intervals of rates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.alarm_outcomes import poisson_interval, weighted_interval


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), max_size=40))
def test_a_weighted_rate_lies_within_its_own_interval(weights: list[float]) -> None:
    low, high = weighted_interval(weights, 207.0)
    assert low <= sum(weights) / 207 <= high


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_with_weights_of_one_it_is_the_exact_interval(count: int) -> None:
    assert weighted_interval([1.0] * count, 9998) == pytest.approx(poisson_interval(count, 9998))


def test_two_in_ten_thousand_days() -> None:
    assert weighted_interval([1, 1], 9998) == pytest.approx((0.0000242, 0.000723), rel=1e-2)  # Garwood: 0.242, 7.22
