"""Platt's scaling sits in the trees: calibrated probabilities, and contributions that still add up."""

import numpy as np
import pytest
import xgboost

from pipelines.battery_hazard.training.datasets.series import About
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored
from pipelines.battery_hazard.training.fitting.calibration import calibrated, log_odds, platt, recalibrated

ABOUT = About(1, 0, "complete", bench=False, period_ms=10_000, fault=None, nuisances=(), nuisance_rate=0.05)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 3))
    return features, (features[:, 0] + rng.normal(size=4000) > 1).astype(np.float64)


@pytest.fixture(scope="module")
def booster(rows: tuple[np.ndarray, np.ndarray]) -> xgboost.Booster:
    parameters = {"objective": "binary:logistic", "max_depth": 4, "scale_pos_weight": 5.0, "base_score": 0.3, "seed": 1}
    return xgboost.train(parameters, xgboost.DMatrix(*rows), 30)


def test_the_trees_give_the_scaled_log_odds(booster: xgboost.Booster, rows: tuple[np.ndarray, ...]) -> None:
    scaled = calibrated(booster, 0.7, -1.5)
    before, after = (np.asarray(b.inplace_predict(rows[0]), np.float64) for b in (booster, scaled))
    np.testing.assert_allclose(log_odds(after), 0.7 * log_odds(before) - 1.5, atol=1e-4)
    np.testing.assert_allclose(after, recalibrated(before, 0.7, -1.5), atol=1e-5)


def test_contributions_add_up_to_the_calibrated_log_odds(
    booster: xgboost.Booster, rows: tuple[np.ndarray, ...]
) -> None:
    scaled = calibrated(booster, 0.7, -1.5)
    matrix = xgboost.DMatrix(rows[0])
    parts = np.asarray(scaled.predict(matrix, pred_contribs=True), np.float64)
    np.testing.assert_allclose(parts.sum(axis=1), scaled.predict(matrix, output_margin=True), atol=1e-4)


def test_after_calibration_the_mean_probability_is_the_share_of_hazards(
    booster: xgboost.Booster,
    rows: tuple[np.ndarray, ...],
) -> None:
    features, target = rows

    def scored(model: xgboost.Booster) -> Scored:
        probability = np.asarray(model.inplace_predict(features), np.float64)
        return Scored(ABOUT, np.arange(len(target)), target.astype(np.int8), probability)

    assert scored(booster).probability.mean() > 1.3 * target.mean()  # for its weights
    after = scored(calibrated(booster, *platt([scored(booster)])))
    assert after.probability.mean() == pytest.approx(target.mean(), rel=1e-3)
