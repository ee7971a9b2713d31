"""How the model is trained: XGBoost beside others, on the handwritten digits that scikit-learn ships."""

from pathlib import Path

from scipy.stats import loguniform, uniform
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from xgboost import XGBClassifier

from training.datasets.source import Rows, digest, given_rows
from training.fitting.recipe import Candidate, Recipe
from worker.config.task import Task

TARGET = "digit"
PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))


def _rows(given: Path | None, _seed: int) -> Rows:
    if given is not None:
        return given_rows(given)
    frame = load_digits(as_frame=True).frame.rename(columns={"target": TARGET})
    return Rows(frame, "sklearn.datasets.load_digits", generated=False, sha256=digest(frame))


RECIPE = Recipe(
    name="tabular",
    task=Task.MULTICLASS,
    rows=_rows,
    numbers=PIXELS,
    categories=(),
    target=TARGET,
    served="xgboost",
    tries=6,
    candidates=(
        Candidate("most_frequent", DummyClassifier(strategy="prior")),
        Candidate("nearest_neighbours", KNeighborsClassifier(weights="distance"), {"n_neighbors": [3, 5, 9]}),
        Candidate(
            "random_forest", RandomForestClassifier(n_estimators=100, random_state=0), {"min_samples_leaf": [1, 3]}
        ),
        Candidate(
            "xgboost",
            XGBClassifier(tree_method="hist", n_jobs=1, random_state=0),
            {
                "n_estimators": [60, 100],
                "max_depth": [3, 4, 5],
                "learning_rate": loguniform(0.1, 0.4),
                "subsample": uniform(0.6, 0.4),
                "colsample_bytree": uniform(0.3, 0.5),
            },
        ),
    ),
    purpose="Reads a handwritten digit from its picture of 8 by 8 pixels.",
    limits=(
        "Digits of 43 writers, scanned in the 1990s and reduced to 8 by 8 pixels: no other source of pictures.",
        "A picture that is no digit gets a class too. Its probability says little about that.",
    ),
    licence="CC BY 4.0, Alpaydin and Kaynak 1998, UCI Machine Learning Repository, doi:10.24432/C50P49",
)
