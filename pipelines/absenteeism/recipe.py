"""How the model is trained: a support vector regression beside others."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import loguniform
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR

from pipelines.absenteeism.rows import CODES, FEATURES, SOURCE, TARGET
from training.datasets.source import Rows, find_rows
from training.fitting.recipe import Candidate, Recipe
from worker.config.task import Task


def _rows(given: Path | None, seed: int) -> Rows:
    return find_rows(SOURCE, given, seed=seed)


def _scaled(regressor: Any) -> Any:
    """Codes one-hot encoded, amounts scaled, then the regressor, which learns the logarithm of the hours.

    A few absences are of weeks. On the logarithm they do not outweigh all others.
    """
    amounts = [name for name in FEATURES if name not in CODES]
    columns = ColumnTransformer(
        [
            (
                "codes",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                list(CODES),
            ),
            ("amounts", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), amounts),
        ]
    )
    pipeline = make_pipeline(columns, regressor)
    return TransformedTargetRegressor(pipeline, func=np.log1p, inverse_func=np.expm1)


RECIPE = Recipe(
    name="absenteeism",
    task=Task.REGRESSION,
    rows=_rows,
    numbers=FEATURES,
    categories=(),
    target=TARGET,
    unit="h",
    served="svr_rbf",
    tries=24,
    candidates=(
        Candidate("median", DummyRegressor(strategy="median")),
        Candidate("ridge", _scaled(Ridge()), {"regressor__ridge__alpha": loguniform(0.1, 100)}),
        Candidate(
            "random_forest",
            RandomForestRegressor(n_estimators=60, max_features=0.6, random_state=0),
            {"min_samples_leaf": [1, 3, 5, 10]},
        ),
        Candidate(
            "gradient_boosting",
            HistGradientBoostingRegressor(loss="absolute_error", max_iter=40, random_state=0),
            {"max_leaf_nodes": [15, 31], "learning_rate": [0.1, 0.2]},
        ),
        Candidate(
            "svr_rbf",
            _scaled(SVR(kernel="rbf")),
            {
                "regressor__svr__C": loguniform(0.1, 30),
                "regressor__svr__gamma": loguniform(0.005, 0.3),
                "regressor__svr__epsilon": loguniform(0.01, 0.5),
            },
        ),
    ),
    purpose="Expects how many hours an employee is absent, from the reason and facts about the employee.",
    limits=(
        "36 employees of one courier company in Brazil, 2007 to 2010: not representative of any other.",
        "The same employees are in training and test rows: the error for an employee who is new is larger.",
        "Absences of more than a week are rare, and underestimated.",
        "It must not decide about people: age, health and habits are among its inputs.",
    ),
    licence=SOURCE.licence,
)
