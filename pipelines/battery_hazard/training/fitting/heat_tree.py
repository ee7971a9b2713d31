"""The first tree of the model, which no data teaches: log-odds that rise evenly with the heating score.

Which short of a cell runs away and which decays cannot be learnt from the simulator: it does not know. The score orders
real ones (docs/physics.md). The trees after this one learn from the simulated sites how likely a hazard is; once a cell
is hot and heating, all they split on is constant but this score, so that they keep its order.
"""

import json
from typing import Any

import numpy as np
import xgboost

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES, HOT_C, MISSING

_COLUMN = FEATURES.names.index("heating_score")
_LOG_ODDS_K, HIGHEST_SCORE = 0.02, 340.0
_DEPTH = 8
_MOST_A_TREE = 0.13


def heat_tree(parameters: dict[str, Any]) -> xgboost.Booster:
    """A booster of this one tree, to go on from.

    Args:
        parameters: of the booster, see `Boosting.parameters`.
    """
    rows = np.tile(np.array(MISSING), (2**_DEPTH, 1))
    rows[:, _COLUMN] = np.linspace(HOT_C, HIGHEST_SCORE, 2**_DEPTH)
    wanted = _LOG_ODDS_K * (rows[:, _COLUMN] - HOT_C)

    def towards(log_odds: Float, _data: xgboost.DMatrix) -> tuple[Float, Float]:
        return log_odds - wanted, np.ones_like(wanted)

    own = {"tree_method": "exact", "max_depth": _DEPTH, "learning_rate": 1.0, "reg_lambda": 0.0, "gamma": 0.0}
    own |= {"min_child_weight": 0.0, "subsample": 1.0, "colsample_bytree": 1.0}
    return xgboost.train(parameters | own, xgboost.DMatrix(rows, nthread=1), 1, obj=towards)


def limited(booster: xgboost.Booster) -> xgboost.Booster:
    """The same trees, but none after the first adds more than 0.13 log-odds.

    A cell that is hot and heating is at the dangerous end of all of them. Without a limit their sum would be so high
    that calibration would have to flatten all other probabilities (`calibration.kept_distinct`).
    """
    model = json.loads(bytes(booster.save_raw("json")))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"][1:]:
        for node, left in enumerate(tree["left_children"]):
            if left == -1:
                tree["split_conditions"][node] = min(tree["split_conditions"][node], _MOST_A_TREE)
    return xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))
