"""The threshold baseline: limits as low as the false-alarm budget lets them be."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.events.ground_truth import Fault
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.labels import labels
from pipelines.battery_hazard.training.datasets.series import About, Series
from pipelines.battery_hazard.training.fitting.policy import policy_at
from pipelines.battery_hazard.training.fitting.thresholds import Thresholds, measured, tuned_thresholds

MINUTE = 60_000
TS = np.arange(360) * 10_000
HEALTHY = About(1, 1, "complete", bench=False, period_ms=10_000, fault=None, nuisances=(), nuisance_rate=0.05)
FAULT = Fault(0, "overcharge", 20 * MINUTE, 30 * MINUTE, 30 * MINUTE, 50 * MINUTE, vents_early=True)


def series(about: About, **columns: np.ndarray | float) -> Series:
    features = np.full((len(TS), len(FEATURES.names)), np.nan)
    for name, values in columns.items():
        features[:, FEATURES.names.index(name)] = values
    return Series(about, TS, features, labels(TS, about.fault, gas=True))


def test_a_limit_lies_just_above_what_normal_operation_reaches() -> None:
    hot = series(HEALTHY, max_surface_temp_c=58.0, offgas_h2_ppm=np.where(TS < 30 * MINUTE, 5, 900))
    fire = series(replace(HEALTHY, fault=FAULT), max_surface_temp_c=np.where(TS < 40 * MINUTE, 30, 140))
    tuned = tuned_thresholds([hot, fire])
    assert tuned.limits["temperature_c"] == 60.0
    assert 900 < tuned.limits["offgas_h2_ppm"] < 1200
    assert tuned.limits["offgas_co_ppm"] == 50.0  # no carbon monoxide at all: the lowest that is tried


def test_the_score_is_a_half_at_the_first_limit_reached() -> None:
    limits = Thresholds({"temperature_c": 60.0, "rise_c_min": 2.0}, policy_at(0.5, 0))
    rate = {"avg_surface_temp_c_rate_5min": 2.0 / 60}
    assert limits.score(series(HEALTHY, avg_surface_temp_c=45.0, **rate).features)[0] == pytest.approx(0.5)
    assert limits.score(series(HEALTHY, avg_surface_temp_c=60.0).features)[0] == pytest.approx(0.5)
    assert limits.score(series(HEALTHY, avg_surface_temp_c=30.0).features)[0] < 0.5


def test_a_sensor_that_is_not_there_raises_no_alarm() -> None:
    limits = Thresholds({"offgas_h2_ppm": 20.0}, policy_at(0.5, 0))
    assert (limits.score(series(HEALTHY, voltage_v=3.7).features) == 0).all()


def test_the_rise_is_a_minute() -> None:
    rate = {"avg_surface_temp_c_rate_5min": 2.0 / 60}
    assert measured(series(HEALTHY, **rate).features, "rise_c_min")[0] == pytest.approx(2.0)
