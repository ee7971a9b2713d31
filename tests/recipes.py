"""Small recipes for tests: made-up rows of which a tree learns the truth at once."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from training.datasets.source import Rows
from training.fitting.recipe import Candidate, Recipe
from worker.config.task import Task

NUMBERS = ("a", "b", "c", "d", "e", "f", "g", "h")


def made_up(task: Task, rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Eight numbers; the target depends on the first two."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, len(NUMBERS))), columns=list(NUMBERS))
    score = 3 * frame["a"] + frame["b"] + rng.normal(0, 0.1, rows)
    classes = {Task.BINARY: (score > 1.0).astype(int), Task.MULTICLASS: np.digitize(score, [-2, 2])}
    return frame.assign(target=classes.get(task, score), owner=rng.integers(0, 40, rows).astype(str))


def small_recipe(task: Task, name: str = "small", *, depth: int = 5) -> Recipe:
    """A tree, a linear model (of a regression) and a guess compete."""
    regression = task == Task.REGRESSION
    tree = DecisionTreeRegressor(random_state=0) if regression else DecisionTreeClassifier(random_state=0)
    candidates = [
        Candidate("guess", DummyRegressor() if regression else DummyClassifier(strategy="prior")),
        Candidate("tree", tree, {"max_depth": [depth], "min_samples_leaf": [5]}),
    ]
    if regression:
        candidates.append(Candidate("linear", make_pipeline(Ridge()), {"ridge__alpha": [0.1, 1.0]}))

    def rows(_given: Path | None, seed: int) -> Rows:
        return Rows(made_up(task, seed=seed), "made up", generated=True, sha256="0")

    return Recipe(
        name=name,
        task=task,
        rows=rows,
        numbers=NUMBERS,
        categories=(),
        target="target",
        candidates=tuple(candidates),
        purpose="Tests.",
        limits=("None.",),
        licence="none",
    )
