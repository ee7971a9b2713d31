"""Detectors that know the fault: what they must and cannot find."""

import numpy as np
import pytest

from pipelines.battery_hazard.training.evaluation.known_fault import (
    SPANS,
    Bank,
    found_in_noise,
    windows,
)

READINGS, TRIALS, LEVEL = 40, 20_000, 0.01
NOISE = np.array([0.2, 0.002])
RISING = np.linspace(0, 1, READINGS)[:, None] * NOISE
SPANNED = len(SPANS)


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
    assert found[-1] == values[370:382].mean()


def test_lost_readings_repeat_the_last_known_one() -> None:
    values = np.arange(400.0)[:, None]
    values[399] = values[0] = np.nan
    assert windows(values, np.array([399]))[0, 0] == 398
    assert np.isfinite(windows(values, np.array([359]))).all()


NORMAL = np.random.default_rng(1).normal(0, 1, (TRIALS, SPANNED))
ALIKE = np.full((2, SPANNED), 10.0)


def test_a_bank_finds_a_fault_by_the_example_of_another() -> None:
    bank = Bank.learnt(ALIKE, NORMAL).raised(NORMAL)
    assert (bank.found(NORMAL) > 0.99).all()


def test_a_bank_hardly_finds_a_fault_without_a_signal() -> None:
    bank = Bank.learnt(ALIKE * 1e-9, NORMAL).raised(NORMAL)
    assert (bank.found(NORMAL) <= 0.01).all()


def test_a_fault_like_no_other_is_not_found_by_its_own_example() -> None:
    unlike = ALIKE * [[1], [-1]]
    assert (Bank.learnt(unlike, NORMAL).raised(NORMAL).found(NORMAL) == 0).all()


def test_a_bank_raises_no_alarm_in_normal_operation_that_it_has_not_seen() -> None:
    bank = Bank.learnt(ALIKE, NORMAL).raised(NORMAL)
    unseen = np.random.default_rng(2).normal(0, 1, NORMAL.shape)
    assert not bank.alarms(unseen).any()
    assert bank.alarms(unseen + ALIKE[0]).mean() > 0.99


def test_a_sensor_that_is_wrong_does_not_blind_a_bank() -> None:
    broken = NORMAL.copy()
    broken[0, 3] = 1000.0
    bank = Bank.learnt(ALIKE, NORMAL).raised(broken)
    assert not bank.alarms(broken).any()
    assert (bank.found(NORMAL) > 0.99).all()


def test_what_normal_operation_does_by_itself_hides_a_fault() -> None:
    drifting = NORMAL + 20 * np.random.default_rng(3).normal(0, 1, (TRIALS, 1))
    assert (Bank.learnt(ALIKE, drifting).raised(drifting).found(drifting) < 0.05).all()
    changing = ALIKE * np.where(np.arange(SPANNED) % 2, 1, -1)
    assert (Bank.learnt(changing, drifting).raised(drifting).found(drifting) > 0.99).all()
