"""Detectors that know the fault: what they must and cannot find."""

import numpy as np
import pytest

from pipelines.battery_hazard.training.evaluation.known_fault import (
    SPANS,
    NormalOperation,
    found_in_noise,
    windows,
)

READINGS, TRIALS, LEVEL = 40, 20_000, 0.01
NOISE = np.array([0.2, 0.002])
RISING = np.linspace(0, 1, READINGS)[:, None] * NOISE
ONE_SPAN = len(SPANS)


def test_a_fault_without_a_signal_is_found_as_often_as_false_alarms_are_allowed() -> None:
    assert found_in_noise(0 * RISING, NOISE, LEVEL) == pytest.approx(LEVEL)


def test_a_fault_in_hardly_any_noise_is_always_found() -> None:
    assert found_in_noise(RISING, NOISE * 1e-6, LEVEL) == 1


def test_a_likelihood_ratio_on_simulated_readings_finds_the_same_share() -> None:
    rng = np.random.default_rng(0)
    weights = RISING / NOISE**2
    without = (rng.normal(0, NOISE, (TRIALS, READINGS, 2)) * weights).sum(axis=(1, 2))
    with_fault = (rng.normal(RISING, NOISE, (TRIALS, READINGS, 2)) * weights).sum(axis=(1, 2))
    found = (with_fault > np.quantile(without, 1 - LEVEL)).mean()
    assert found == pytest.approx(found_in_noise(RISING, NOISE, LEVEL), abs=0.02)


def test_windows_hold_means_of_the_latest_readings_first() -> None:
    values = np.arange(400.0)[:, None]
    found = windows(values, np.array([399]))[0]
    assert found[0] == 399
    assert found[2] == np.mean([396, 397])
    assert found[-1] == values[40:220].mean()


def test_lost_readings_repeat_the_last_known_one() -> None:
    values = np.arange(400.0)[:, None]
    values[399] = values[0] = np.nan
    assert windows(values, np.array([399]))[0, 0] == 398
    assert np.isfinite(windows(values, np.array([359]))).all()


@pytest.fixture(scope="module")
def noise_alone() -> NormalOperation:
    """Windows whose values are independent, with a deviation of 1."""
    drawn = np.random.default_rng(1).normal(0, 1, (2, TRIALS, ONE_SPAN))
    return NormalOperation(drawn[0], drawn[1])


def test_in_noise_alone_the_matched_filter_is_as_good_as_the_likelihood_ratio(noise_alone: NormalOperation) -> None:
    signal = np.full((1, ONE_SPAN), 1.0)
    found = noise_alone.found(signal, np.array([LEVEL]))[0]
    assert found == pytest.approx(found_in_noise(signal.T, np.ones(1), LEVEL), abs=0.03)


def test_the_matched_filter_finds_no_more_than_allowed_without_a_signal(noise_alone: NormalOperation) -> None:
    tiny = np.full((1, ONE_SPAN), 1e-9)
    assert noise_alone.found(tiny, np.array([LEVEL]))[0] == pytest.approx(LEVEL, rel=0.05)


def test_what_normal_operation_does_by_itself_hides_a_fault(noise_alone: NormalOperation) -> None:
    drift = 10 * np.random.default_rng(2).normal(0, 1, (2, TRIALS, 1))
    drifting = NormalOperation(noise_alone.learnt + drift[0], noise_alone.measured + drift[1])
    alike = np.full((1, ONE_SPAN), 1.0)
    unlike = alike * np.where(np.arange(ONE_SPAN) < ONE_SPAN // 2, 1, -1)
    levels = np.array([LEVEL])
    assert drifting.found(alike, levels)[0] < 0.05
    assert drifting.found(unlike, levels)[0] == pytest.approx(noise_alone.found(unlike, levels)[0], abs=0.05)
