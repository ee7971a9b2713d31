"""Wrong models, written into a directory as their authors would leave them."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import yaml
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from xgboost import XGBRegressor

from tests.flagship import SHIPPED_MODEL
from tests.plain_models import NO_REQUIREMENTS, NUMBERS, leaks, pump_rows, saved, wear

TABLE = pump_rows()[NUMBERS]
PICKLE = {"serialization_format": "cloudpickle"}
Make = Callable[[Path], Path]
"""Writes a model below a directory."""


class Function(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow has no types
    """A Python function as an author writes it, which gives what `given` says."""

    def __init__(self, given: str) -> None:
        self.given = given

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002 - MLflow names them
        if self.given == "raises":
            raise RuntimeError("no such pump")
        if self.given == "too few":
            return np.zeros(3)
        if self.given == "random":
            return np.random.default_rng().random(len(model_input))
        return np.full(len(model_input), {"nan": np.nan, "texts": "high"}[self.given])


class OfAMissingModule:
    """Pickles as something that only a library that is not installed can make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("pumps_library",)


class Exit:
    """Unpickling it ends the process, as a crash does."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (self.code,)


def svr(directory: Path, **more: Any) -> Path:
    model = make_pipeline(StandardScaler(), SVR()).fit(TABLE, wear(TABLE))
    return saved(mlflow.sklearn, model, directory / "m", TABLE, [1.5], **more)


def booster(directory: Path) -> Path:
    model = XGBRegressor(n_estimators=3).fit(TABLE, wear(TABLE))
    return saved(mlflow.xgboost, model, directory / "m", TABLE, [1.5])


def classifier(estimator: Any, **more: Any) -> Make:
    fitted = estimator.fit(TABLE, leaks(TABLE))
    return lambda directory: saved(mlflow.sklearn, fitted, directory / "m", TABLE, [1], **more)


def function(given: str) -> Make:
    def make(directory: Path) -> Path:
        signature = mlflow.models.infer_signature(TABLE, [1.5])
        path = str(directory / "m")
        mlflow.pyfunc.save_model(path, python_model=Function(given), signature=signature, **NO_REQUIREMENTS)
        return Path(path)

    return make


def edited(change: Callable[[dict[str, Any]], Any]) -> Make:
    """A model with another MLmodel file."""

    def make(directory: Path) -> Path:
        file = svr(directory) / "MLmodel"
        content = yaml.safe_load(file.read_text())
        change(content)
        file.write_text(yaml.safe_dump(content))
        return file.parent

    return make


def signed(columns: list[dict[str, Any]]) -> Make:
    return edited(lambda content: content["signature"].update(inputs=json.dumps(columns)))


def without(name: str, make: Make) -> Make:
    def made(directory: Path) -> Path:
        model = make(directory)
        (model / name).unlink()
        return model

    return made


def cut(name: str, make: Make) -> Make:
    def made(directory: Path) -> Path:
        file = make(directory) / name
        file.write_bytes(file.read_bytes()[:300])
        return file.parent

    return made


def with_pickle(content: Any) -> Make:
    def made(directory: Path) -> Path:
        model = svr(directory, **PICKLE)
        (model / "model.pkl").write_bytes(pickle.dumps(content))
        return model

    return made


def altered_package(directory: Path) -> Path:
    shutil.copytree(SHIPPED_MODEL, directory / "m")
    (directory / "m" / "alarm.json").write_text("{}")
    return directory / "m"


def garbage(content: bytes) -> Make:
    def make(directory: Path) -> Path:
        (directory / "m").mkdir()
        (directory / "m" / "MLmodel").write_bytes(content)
        return directory / "m"

    return make


def nothing(directory: Path) -> Path:
    (directory / "m").mkdir()
    return directory / "m"
