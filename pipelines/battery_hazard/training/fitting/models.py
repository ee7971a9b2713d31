"""The models that are compared: each is fitted to rows, and scores features as the worker computes them."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xgboost
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.arrays import Float
from common.errors import UserError
from common.validation_errors import fault_texts
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES, MONOTONE, SAFE, USED
from pipelines.battery_hazard.training.fitting.heat_tree import heat_tree, limited
from worker.model.scaler import Scaler

THREADS = 2
"""Fixed, because XGBoost adds up gradients by thread: another number of threads would change the last bits."""
_FOREST_ROWS = 200_000
_BINS = 512
_ROWS_AT_ONCE = 200_000

Score = Callable[[Float], Float]
Balance = Literal["weights", "resampling", "none"]
Row32 = NDArray[np.float32]


class Rows(NamedTuple):
    """Training rows: features [n, f], target [n] (0 or 1), weight [n]."""

    features: Float
    target: Row32
    weight: Row32

    def and_those_of(self, other: "Rows") -> "Rows":
        """These rows, followed by the others."""
        return Rows(
            np.concatenate((self.features, other.features)),
            np.concatenate((self.target, other.target)),
            np.concatenate((self.weight, other.weight)),
        )

    def at(self, places: Any) -> "Rows":
        """Some rows."""
        return Rows(*(column[places] for column in self))


@dataclass(frozen=True)
class Boosting:
    """Hyperparameters of the boosted trees, which `hazardstream tune` searches.

    Attributes:
        rounds: trees.
        balance: what is done about the rarity of hazards. `weights`: hazardous rows have the weight `imbalance`.
            `resampling`: normal rows are dropped at random, to 1 / `imbalance` of their number. `none`: nothing.
    """

    rounds: int
    max_depth: int
    learning_rate: float
    min_child_weight: float = 20.0
    subsample: float = 0.7
    colsample_bytree: float = 0.6
    reg_lambda: float = 1.0
    gamma: float = 0.0
    balance: Balance = "weights"

    def parameters(self, target: Row32, seed: int) -> dict[str, Any]:
        """The parameters for XGBoost."""
        weight = imbalance(target) if self.balance == "weights" else 1.0
        names = FEATURES.names
        return {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_bin": _BINS,
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
            "gamma": self.gamma,
            "monotone_constraints": "(" + ",".join(str(MONOTONE[name]) for name in names) + ")",
            "scale_pos_weight": weight,
            "base_score": 0.5,
            "eval_metric": "aucpr",
            "seed": seed,
            "nthread": THREADS,
        }


def write_boosting(path: Path, boosting: Boosting) -> None:
    """Write parameters as JSON."""
    path.write_text(json.dumps(asdict(boosting), indent=2) + "\n")


def read_boosting(path: Path) -> Boosting:
    """Parameters that `write_boosting` wrote.

    Raises:
        UserError: the file does not exist, or has other content.
    """
    try:
        return TypeAdapter(Boosting).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = fault_texts(error) if isinstance(error, ValidationError) else error.strerror
        raise UserError(f"{path}: {reason}; make it with `hazardstream tune --output {path}`") from error


def imbalance(target: Row32) -> float:
    """Weight of a hazardous row: the geometric mean of 1 and the weight that would make the classes equal."""
    hazards = float(target.sum())
    return float(np.sqrt((len(target) - hazards) / hazards))


def balanced(rows: Rows, how: Balance, seed: int) -> Rows:
    """The rows, without those that `Boosting.balance` drops."""
    if how != "resampling":
        return rows
    rng = np.random.default_rng([seed, 30])
    keep = (rows.target > 0) | (rng.random(len(rows.target)) < 1 / imbalance(rows.target))
    return rows.at(keep)


def fit_boosting(
    rows: Rows,
    boosting: Boosting,
    seed: int,
    *,
    watched: Rows | None = None,
    callbacks: list[xgboost.callback.TrainingCallback] | None = None,
) -> tuple[Scaler, xgboost.Booster]:
    """Boosted trees, and what they get for missing values. The first tree is `heat_tree`, the others are `limited`.

    Args:
        rows: to train on.
        boosting: parameters.
        seed: of sampling.
        watched: rows on which each round is evaluated, under the name `validation`.
        callbacks: of XGBoost.
    """
    rows = balanced(rows, boosting.balance, seed)
    data = xgboost.QuantileDMatrix(
        _given(rows.features), rows.target, weight=rows.weight, max_bin=_BINS, nthread=THREADS
    )
    evals = []
    if watched is not None:
        matrix = xgboost.QuantileDMatrix(
            _given(watched.features), watched.target, max_bin=_BINS, nthread=THREADS, ref=data
        )
        evals = [(matrix, "validation")]
    parameters = boosting.parameters(rows.target, seed)
    booster = limited(
        xgboost.train(
            parameters,
            data,
            boosting.rounds,
            evals=evals,
            callbacks=callbacks,
            verbose_eval=False,
            xgb_model=heat_tree(parameters),
        )
    )
    booster.set_param({"nthread": 1})
    return SAFE, booster


def _given(features: Float) -> Row32:
    """What the trees are trained on: the safe end where a value is missing, and zero in columns that are not used."""
    scale, out = SAFE.scale(features.shape[1]), np.zeros(features.shape, np.float32)
    for start in range(0, len(features), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        out[part, USED] = scale(features[part])[:, USED]
    return out


def scorer(scaler: Scaler, booster: xgboost.Booster) -> Score:
    """Score as `worker.model.package.ModelPackage.score` does, on both cores."""
    booster.set_param({"nthread": THREADS})
    scale = scaler.scale(len(FEATURES.names))

    def score(features: Float) -> Float:
        return np.asarray(booster.inplace_predict(scale(features), missing=np.nan), np.float64)

    return score


def fit_logistic(rows: Rows, seed: int) -> Score:
    """Logistic regression on standardised features. Missing values become the median, and indicators mark them."""
    model = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(
            class_weight={0: 1.0, 1: imbalance(rows.target)}, solver="newton-cholesky", random_state=seed
        ),
    )
    return _sklearn(model.fit(rows.features, rows.target, logisticregression__sample_weight=rows.weight))


def fit_forest(rows: Rows, seed: int, *, trees: int = 100) -> Score:
    """Random forest; each tree sees a bootstrap sample of at most `_FOREST_ROWS` rows."""
    model = RandomForestClassifier(
        trees,
        min_samples_leaf=5,
        max_samples=min(_FOREST_ROWS, len(rows.target)),
        class_weight={0: 1.0, 1: imbalance(rows.target)},
        n_jobs=THREADS,
        random_state=seed,
    )
    return _sklearn(model.fit(rows.features, rows.target, sample_weight=rows.weight))


def _sklearn(model: Any) -> Score:
    def score(features: Float) -> Float:
        return np.asarray(model.predict_proba(features.astype(np.float32))[:, 1], np.float64)

    return score
