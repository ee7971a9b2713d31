"""The first tree gives the heating score its slope; the others leave room above what they say."""

import numpy as np
import pytest

from pipelines.battery_hazard.training.datasets.feature_set import FEATURES, MISSING
from pipelines.battery_hazard.training.fitting.heat_tree import HIGHEST_SCORE
from pipelines.battery_hazard.training.fitting.models import Boosting, Rows, fit_boosting

HASTY = Boosting(rounds=3, max_depth=2, learning_rate=1.0, min_child_weight=0.0, subsample=1.0)


def test_log_odds_rise_with_the_heating_score_and_no_other_tree_adds_much() -> None:
    rng = np.random.default_rng(1)
    target = np.arange(400, dtype=np.float32) % 2
    features = rng.normal(size=(400, len(FEATURES.names))) + target[:, None]

    scaler, booster = fit_boosting(Rows(features, target, np.ones_like(target)), HASTY, seed=0)

    scores = np.full((4, len(FEATURES.names)), np.nan)
    scores[:, FEATURES.names.index("heating_score")] = np.linspace(70, HIGHEST_SCORE, 4)
    rows = scaler.scale(len(MISSING))(scores)
    assert np.diff(booster.inplace_predict(rows, predict_type="margin")) == pytest.approx([1.8, 1.8, 1.8], abs=0.1)
    nodes = booster.trees_to_dataframe()
    said = nodes.loc[(nodes["Feature"] == "Leaf") & (nodes["Tree"] > 0), "Gain"]
    assert said.min() < -0.13
    assert said.max() == pytest.approx(0.13)
