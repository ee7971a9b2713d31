"""How the model is trained: on events of made-up users, with the features that the worker computes from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import loguniform
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common.times import DAY_MS
from pipelines.churn.users import CATEGORIES, HORIZON_DAYS, START_MS, Users, simulate
from training.datasets.source import Rows, digest, given_rows
from training.fitting.recipe import Candidate, Recipe
from training.fitting.stream_features import stream_features
from training.run.replay import Replay, records_of
from training.run.train import Trained
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.task import Task

TARGET = "leaves"
WARM_UP_DAYS = 30
"""Before, the longest windows are not full."""
_SHARE = 0.1
"""Of the events that are training rows: those of one user are much alike."""
_NEW_USERS = 100
_PIPELINE = load_pipeline(str(Path(__file__).parent))
FEATURES = tuple(feature.name for feature in _PIPELINE.features or ())
NUMBERS = tuple(name for name in FEATURES if name not in CATEGORIES)


def inputs_of(users: Users, pipeline: Pipeline = _PIPELINE) -> pd.DataFrame:
    """What the model gets for each event, computed by the worker's kernel."""
    return stream_features(pipeline, users.events)


def labelled(users: Users) -> pd.DataFrame:
    """A row for each event after the warm-up: its user, the features, and whether the user leaves soon."""
    late = users.events["ts"] >= START_MS + WARM_UP_DAYS * DAY_MS
    rows = inputs_of(users).assign(user_id=users.events["user_id"], **{TARGET: users.leaves_soon(users.events)})
    return rows[late].astype(dict.fromkeys(CATEGORIES, object))


def _rows(given: Path | None, seed: int) -> Rows:
    if given is not None:
        return given_rows(given)
    frame = labelled(simulate(seed))
    chosen = frame[np.random.default_rng(seed).random(len(frame)) < _SHARE]
    return Rows(chosen, f"events of made-up users, seed {seed}", generated=True, sha256=digest(chosen))


def new_users() -> Users:
    """Users whom the model has not seen."""
    return simulate(seed=1_000_000, users=_NEW_USERS)


def replay_of_new_users(_recipe: Recipe, _trained: Trained, pipeline: Pipeline) -> Replay:
    """Their events, as they happen."""
    users = new_users()
    events = users.events
    return Replay(
        keys=events["user_id"].tolist(),
        records=records_of(events, pipeline),
        inputs=inputs_of(users, pipeline).astype(dict.fromkeys(CATEGORIES, object)),
        truth=users.leaves_soon(events).to_numpy(),
        held_out=(events["ts"] >= START_MS + WARM_UP_DAYS * DAY_MS).to_numpy(),
    )


def _encoded(classifier: Any, *, scaled: bool = False) -> Any:
    """Missing numbers filled in, categories one-hot encoded, then the classifier."""
    numbers = [SimpleImputer(strategy="median"), *([StandardScaler()] if scaled else [])]
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=None),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = ColumnTransformer(
        [("numbers", make_pipeline(*numbers), list(NUMBERS)), ("categories", categories, list(CATEGORIES))]
    )
    return make_pipeline(columns, classifier)


RECIPE = Recipe(
    name="churn",
    task=Task.BINARY,
    rows=_rows,
    numbers=NUMBERS,
    categories=CATEGORIES,
    target=TARGET,
    split_by="user_id",
    tries=2,
    folds=3,
    candidates=(
        Candidate("prior", DummyClassifier(strategy="prior")),
        Candidate(
            "logistic_regression",
            _encoded(LogisticRegression(max_iter=2000), scaled=True),
            {"logisticregression__C": loguniform(0.01, 10)},
        ),
        Candidate(
            "random_forest",
            _encoded(RandomForestClassifier(n_estimators=40, max_samples=0.3, random_state=0)),
            {"randomforestclassifier__min_samples_leaf": [5, 20]},
        ),
        Candidate(
            "gradient_boosting",
            _encoded(HistGradientBoostingClassifier(max_iter=60, random_state=0)),
            {
                "histgradientboostingclassifier__learning_rate": [0.1],
                "histgradientboostingclassifier__max_leaf_nodes": [7, 15],
            },
        ),
    ),
    purpose=f"Estimates the probability that a user leaves within {HORIZON_DAYS} days, from the user's last activity.",
    limits=(
        "Trained on made-up users (users.py says how they behave): train it on your own before you act on it.",
        "A user without events is not scored: the risk is that of the last event.",
    ),
    licence="made up",
)
