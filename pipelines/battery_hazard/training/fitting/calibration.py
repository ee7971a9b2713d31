"""Calibrates probabilities by Platt scaling. The result is written into the trees, so a package needs only its booster.

The log-odds of boosted trees are a sum: bias + leaves. Platt (1999) calibrates them as a * log-odds + b. Multiply every
leaf and the bias by a and add b to the bias: then the trees give the calibrated log-odds, and SHAP contributions still
add up to them.
"""

import json
from collections.abc import Sequence

import numpy as np
import xgboost
from sklearn.linear_model import LogisticRegression

from common.arrays import Float
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored

_LIMIT = 1e-7
_BINS = 12
_DISTINCT_LOG_ODDS = 12.5


def labelled(scored: Sequence[Scored]) -> tuple[Float, Float]:
    """Probability and target of all readings that have a label."""
    known = [one.label >= 0 for one in scored]
    probability = np.concatenate([one.probability[k] for one, k in zip(scored, known, strict=True)])
    return probability, np.concatenate([one.label[k] for one, k in zip(scored, known, strict=True)]).astype(np.float64)


def log_odds(probability: Float) -> Float:
    """Log-odds of a probability, clipped to finite values."""
    inside = np.clip(probability, _LIMIT, 1 - _LIMIT)
    return np.asarray(np.log(inside / (1 - inside)))


def platt(scored: Sequence[Scored]) -> tuple[float, float]:
    """Slope (positive, so that the order of scores is kept) and intercept that calibrate log-odds on these series."""
    probability, target = labelled(scored)
    fit = LogisticRegression(C=np.inf, max_iter=1000).fit(log_odds(probability)[:, None], target)
    return max(float(fit.coef_[0, 0]), 0.05), float(fit.intercept_[0])


def kept_distinct(slope: float, intercept: float, highest: float) -> tuple[float, float]:
    """The line, less steep about the point of even odds if it takes the highest log-odds too near to certainty.

    A probability is in single precision, and beyond it all readings would be equally certain. The most dangerous ones
    must keep their order.

    Args:
        slope: of the line.
        intercept: of the line.
        highest: log-odds, before calibration, up to which readings must be told apart.
    """
    if slope * highest + intercept <= _DISTINCT_LOG_ODDS:
        return slope, intercept
    even = -intercept / slope
    slope = _DISTINCT_LOG_ODDS / (highest - even)
    return slope, -slope * even


def calibrated(booster: xgboost.Booster, slope: float, intercept: float) -> xgboost.Booster:
    """The same trees with log-odds slope * log-odds + intercept."""
    model = json.loads(bytes(booster.save_raw("json")))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            tree["base_weights"][node] *= slope
            if left == -1:
                tree["split_conditions"][node] *= slope
    own = model["learner"]["learner_model_param"]
    base = float(own["base_score"].strip("[]"))
    moved = slope * float(np.log(base / (1 - base))) + intercept
    score = f"{1 / (1 + np.exp(-moved)):.9E}"
    own["base_score"] = f"[{score}]" if own["base_score"].startswith("[") else score
    scaled = xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))
    scaled.set_param({"nthread": 1})
    return scaled


def recalibrated(probability: Float, slope: float, intercept: float) -> Float:
    """Probability with log-odds slope * log-odds + intercept."""
    return np.asarray(1 / (1 + np.exp(-(slope * log_odds(probability) + intercept))))


def reliability(scored: Sequence[Scored]) -> dict[str, list[float]]:
    """Mean predicted probability, share of hazards and number of readings, by bins of the log-odds."""
    probability, target = labelled(scored)
    edges = np.linspace(-9, 9, _BINS + 1)
    at = np.clip(np.digitize(log_odds(probability), edges) - 1, 0, _BINS - 1)
    count = np.bincount(at, minlength=_BINS)
    full = count > 0
    return {
        "predicted": (np.bincount(at, probability, _BINS)[full] / count[full]).round(6).tolist(),
        "observed": (np.bincount(at, target, _BINS)[full] / count[full]).round(6).tolist(),
        "readings": count[full].tolist(),
    }
