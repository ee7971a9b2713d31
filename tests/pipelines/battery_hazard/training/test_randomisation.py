"""Readings of one module as other instruments would show them."""

import numpy as np
import pytest

from common.times import MINUTE_MS
from pipelines.battery_hazard.simulator.plant.sensing import AVG, COUNT, HOT_CELL, MAX, VOLTAGE
from pipelines.battery_hazard.training.datasets.randomisation import lose_thermometers, randomised

N = 200
TS = np.arange(N) * 10_000


def drawn(seed: int, *, bench: bool = False) -> np.ndarray:
    values = np.full((N, COUNT), 3.7)
    values[:, [AVG, MAX, HOT_CELL]] = np.linspace(20, 300, N)[:, None]
    return randomised(values, np.random.default_rng(seed), bench=bench, period_ms=10_000)


def test_the_same_draw_gives_the_same_values() -> None:
    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_some_thermometers_end_at_150_125_or_85_degrees() -> None:
    highest = np.array([drawn(seed)[:, MAX].max() for seed in range(60)])
    for end in (150, 125, 85):
        assert (np.abs(highest - end) <= 1).any()
    assert 0.5 < (highest > 250).mean() < 0.9


def test_the_sensors_of_one_cell_err_alike() -> None:
    one = drawn(3, bench=True)
    assert abs(np.median(one[:, MAX] - one[:, AVG])) < 1
    assert abs(np.median(one[:, VOLTAGE]) - 3.7) < 0.2


@pytest.mark.parametrize("event_ms", [None, 100 * 10_000])
def test_a_thermometer_that_is_lost_stays_lost(event_ms: int | None) -> None:
    lost = []
    for seed in range(200):
        values = np.zeros((N, COUNT))
        lose_thermometers(values, TS, np.random.default_rng(seed), event_ms)
        gone = np.isnan(values)
        assert (gone[1:] >= gone[:-1]).all()
        assert not gone[:, VOLTAGE].any()
        if gone.any() and event_ms is not None:
            assert TS[np.argmax(gone.any(axis=1))] >= event_ms - 16 * MINUTE_MS
        lost.append(int(gone.any(axis=0).sum()))
    assert 0.05 < np.mean(np.array(lost) > 0) < 0.25
    assert set(lost) == {0, 1, 4}
