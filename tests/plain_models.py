"""Small models of each format, trained on tens of rows and written by MLflow itself."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from worker.model.backends.load import load_plain_model
from worker.model.backends.plain_model import PlainModel
from worker.model.contract import Features, Model, Task
from worker.model.mlflow_client import prepare_mlflow
from worker.model.model_files import read_model_files

prepare_mlflow()
NO_REQUIREMENTS: dict[str, Any] = {"pip_requirements": ["mlflow"]}  # finding them out takes seconds


def pump_rows(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows of a pump: two doubles, an integer, a boolean and a text."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "pressure": rng.normal(5, 2, rows),
            "flow": rng.normal(size=rows),
            "starts": rng.integers(0, 9, rows),
            "primed": rng.random(rows) > 0.5,
            "site": rng.choice(["north", "south", "west"], rows),
        }
    )


NUMBERS = ["pressure", "flow"]


def leaks(rows: pd.DataFrame) -> pd.Series:
    """Two classes, by the numbers."""
    return (rows.pressure + rows.flow > 5).astype(int)


def wear(rows: pd.DataFrame) -> pd.Series:
    """A value, by the numbers and the integer."""
    return rows.pressure * 0.5 + rows.flow + (rows.starts if "starts" in rows else 0)


def mixed_pipeline(classifier: Any) -> Pipeline:
    """One-hot texts, filled and scaled numbers, then the classifier."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("texts", OneHotEncoder(), ["site"]), ("numbers", numbers, ["pressure", "flow", "starts"])],
        remainder="passthrough",
    )
    return make_pipeline(columns, classifier)


def saved(flavor: Any, model: Any, directory: Path, rows: Any, output: Any, **more: Any) -> Path:
    """A model written by a flavour's `save_model`, with the signature of these rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = infer_signature(rows, output)
        flavor.save_model(model, str(directory), **({"signature": signature} | NO_REQUIREMENTS | more))
    return directory


def loaded(directory: Path, *, trusted: bool = False, task: Task | None = None, name: str = "pump") -> PlainModel:
    """A model from its directory, as version 1."""
    return load_plain_model(read_model_files(directory, name), version="1", trusted=trusted, task=task)


def features(model: Model, rows: pd.DataFrame) -> Features:
    """Rows as the worker hands them to a model: all numbers are doubles, aligned by name."""
    numbers = np.column_stack([rows[name].to_numpy(np.float64) for name in model.numeric])
    categories = {n: rows[n].astype(object).where(rows[n].notna(), None).to_numpy() for n in model.categorical}
    return Features(numbers.astype(np.float64), categories)
