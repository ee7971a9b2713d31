"""What the shipped model promises: more heat is never less danger, and no sensor is one by its absence."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.battery_hazard.training.datasets.feature_set import CERTAIN, FEATURES
from tests.flagship import SHIPPED_MODEL
from worker.model.package import load_package
from worker.windows.offline import offline_features

PACKAGE = load_package(SHIPPED_MODEL, version="1")
SENSORS = FEATURES.sensors
THERMOMETERS = ("avg_surface_temp_c", "max_surface_temp_c", "min_cell_temp_c", "max_cell_temp_c")
READINGS = 8
PLAUSIBLE = {
    **dict.fromkeys(THERMOMETERS, (-10.0, 160.0)),
    **dict.fromkeys(("voltage_v", "min_cell_voltage_v", "max_cell_voltage_v"), (0.0, 4.4)),
    "current_a": (-2.0, 2.0),
    "soc_percent": (0.0, 100.0),
    **dict.fromkeys(("offgas_co_ppm", "offgas_h2_ppm", "offgas_voc_ppm"), (0.0, 3000.0)),
    "ambient_temp_c": (-10.0, 45.0),
}


def courses(seed: int, count: int) -> np.ndarray:
    """Readings of `count` modules [count, READINGS, sensors]: slow and sudden changes, and values that are missing."""
    rng = np.random.default_rng(seed)
    low, high = np.array([PLAUSIBLE[s] for s in SENSORS]).T
    level = rng.uniform(low, high, (count, 1, len(SENSORS)))
    steps = rng.normal(0, 0.02, (count, READINGS, len(SENSORS))).cumsum(axis=1)
    jumps = (rng.random((count, READINGS, len(SENSORS))) < 0.1) * rng.uniform(-0.3, 0.6, (count, 1, 1))
    values = np.clip(level + (steps + jumps.cumsum(axis=1)) * (high - low), low, high)
    return np.where(rng.random(values.shape) < 0.1, np.nan, values)


def latest_features(values: np.ndarray, period_ms: int) -> np.ndarray:
    """Features of each module's last reading, shape [count, features]."""
    count = len(values)
    key = np.arange(count).repeat(READINGS)
    ts = 1_700_000_000_000 + np.tile(np.arange(READINGS) * period_ms, count)
    order = np.argsort(ts, kind="stable")
    scales = np.ones((count, len(SENSORS)))
    flat = values.reshape(-1, len(SENSORS))
    features, rows = offline_features(PACKAGE.spec, key[order], ts[order], flat[order], scales)
    last = np.empty((count, features.shape[1]))
    last[key[order][rows]] = features  # the last of each key stays
    return last


def latest(values: np.ndarray, period_ms: int) -> np.ndarray:
    """Probability of each module's last reading, shape [count]."""
    return PACKAGE.score(latest_features(values, period_ms))


@pytest.mark.slow  # 20 times the features and scores of 300 modules
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), period_s=st.sampled_from((1, 2, 5, 10, 30, 60, 100)))
def test_a_hotter_last_reading_is_never_less_dangerous(seed: int, period_s: int) -> None:
    values = courses(seed, 300)
    values[:, -1] = np.where(np.isnan(values[:, -1]), values[:, -2], values[:, -1])
    before = latest(values, period_s * 1000)
    rng = np.random.default_rng(seed)
    for which in [*((s,) for s in THERMOMETERS), THERMOMETERS]:
        hotter = values.copy()
        hotter[:, -1, [SENSORS.index(s) for s in which]] += rng.exponential(20, (300, 1))
        assert (latest(hotter, period_s * 1000) >= before).all(), which


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), period_s=st.sampled_from((1, 2, 5, 10, 30, 60, 100)))
def test_only_the_heating_score_orders_cells_that_are_hot_and_heating(seed: int, period_s: int) -> None:
    features = latest_features(courses(seed, 2000), period_s * 1000)
    certain = features[features[:, FEATURES.names.index("hot_and_heating")] == CERTAIN]
    by_score = np.argsort(certain[:, FEATURES.names.index("heating_score")])
    probability = PACKAGE.score(certain[by_score])

    assert len(certain) > 20
    assert (np.diff(probability) >= 0).all()


@pytest.mark.slow  # computes the features of many subsets of the sensors
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), period_s=st.sampled_from((1, 10, 60)))
def test_an_absent_sensor_never_raises_the_probability(seed: int, period_s: int) -> None:
    values = courses(seed, 200)
    present = latest(values, period_s * 1000)
    groups = {
        frozenset(SENSORS.index(s) for s in lacking)
        for size in (1, 2, 3, 6, 10)
        for lacking in list(combinations(SENSORS, size))[seed % 7 :: 1 if size == 1 else 61]
    }
    for lacking in groups:
        without = values.copy()
        without[:, :, sorted(lacking)] = np.nan
        assert (latest(without, period_s * 1000) <= present).all(), [SENSORS[i] for i in sorted(lacking)]


@pytest.mark.parametrize("period_s", [1, 5, 10, 60, 100])
def test_a_healthy_module_is_no_danger_at_any_sampling_period(period_s: int) -> None:
    values = np.full((1, READINGS, len(SENSORS)), np.nan)
    seconds = np.arange(READINGS) * period_s
    values[0, :, SENSORS.index("avg_surface_temp_c")] = 25 + seconds * 24 / 3600  # a hot day's ramp
    values[0, :, SENSORS.index("voltage_v")] = 3.7

    assert latest(values, period_s * 1000)[0] < PACKAGE.policy.setpoint / 10


def test_a_cell_that_jumps_to_where_its_thermometer_ends_is_critical_at_once_and_a_step_of_4_degrees_is_none() -> None:
    values = np.full((2, READINGS, len(SENSORS)), np.nan)
    values[:, :, SENSORS.index("avg_surface_temp_c")] = 22.5
    values[:, :, SENSORS.index("voltage_v")] = 4.1
    values[:, -1, SENSORS.index("avg_surface_temp_c")] = 150, 26.5
    jumped, stepped = latest(values, 10_000)

    assert jumped >= PACKAGE.policy.priorities["CRITICAL"]
    assert stepped < PACKAGE.policy.setpoint
