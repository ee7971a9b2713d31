"""How the model is trained: four kinds of model, of which the best is served."""

from pathlib import Path
from typing import Any

from scipy.stats import loguniform, uniform
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

from pipelines.housing.rows import NUMBERS, PROXIMITY, SOURCE, TARGET
from training.datasets.source import Rows, find_rows
from training.fitting.recipe import Candidate, Recipe
from worker.config.task import Task


def _rows(given: Path | None, seed: int) -> Rows:
    return find_rows(SOURCE, given, seed=seed)


def _encoded(regressor: Any) -> Any:
    """Missing numbers filled in, numbers scaled, categories one-hot encoded, then the regressor."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=None),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = ColumnTransformer([("numbers", numbers, list(NUMBERS)), ("categories", categories, [PROXIMITY])])
    return make_pipeline(columns, regressor)


RECIPE = Recipe(
    name="housing",
    task=Task.REGRESSION,
    rows=_rows,
    numbers=NUMBERS,
    categories=(PROXIMITY,),
    target=TARGET,
    unit="USD",
    tries=4,
    folds=3,
    candidates=(
        Candidate("median", DummyRegressor(strategy="median")),
        Candidate("ridge", _encoded(Ridge()), {"ridge__alpha": loguniform(0.1, 100)}),
        Candidate(
            "random_forest",
            _encoded(RandomForestRegressor(n_estimators=30, max_features=0.5, max_samples=0.5, random_state=0)),
            {"randomforestregressor__min_samples_leaf": [3]},
        ),
        Candidate(
            "gradient_boosting",
            _encoded(HistGradientBoostingRegressor(loss="absolute_error", max_iter=150, random_state=0)),
            {"histgradientboostingregressor__learning_rate": [0.2]},
        ),
        Candidate(
            "xgboost",
            _encoded(XGBRegressor(tree_method="hist", n_jobs=1, random_state=0)),
            {
                "xgbregressor__n_estimators": [200, 300],
                "xgbregressor__max_depth": [5, 6, 7],
                "xgbregressor__learning_rate": loguniform(0.05, 0.2),
                "xgbregressor__subsample": uniform(0.6, 0.4),
                "xgbregressor__colsample_bytree": uniform(0.5, 0.5),
            },
        ),
    ),
    purpose="Values the houses of a census district of California.",
    limits=(
        "Prices of 1990. Where incomes have changed since, the drift report says so, and the model must be retrained.",
        "The census cut values at 500,000 USD: no prediction is far above.",
        "A district, not a house: the value of one house can be anything.",
    ),
    licence=SOURCE.licence,
)
