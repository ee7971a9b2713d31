"""Any other MLflow model, through MLflow's own `python_function`: code of the model's author runs."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model.backends.backend import Backend, missing_library, require_trust
from worker.model.backends.frames import Frame, frames
from worker.model.backends.mlmodel import MlModel
from worker.model.contract import Features, ModelInput
from worker.model.mlflow_client import prepare_mlflow
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError


def load_pyfunc(files: ModelFiles, described: MlModel, declared: tuple[ModelInput, ...], *, trusted: bool) -> Backend:
    """Load a model of the flavour `python_function`.

    Args:
        files: of the model.
        described: its MLmodel file.
        declared: the columns of the signature.
        trusted: whether code of the model's author may run.

    Raises:
        PackageError: it is not trusted, or cannot be loaded.
    """
    require_trust(files, "it is a Python function", trusted=trusted)
    # It stays for as long as the model: the function may open its files later.
    directory = tempfile.TemporaryDirectory(prefix="hazardstream-", ignore_cleanup_errors=True)
    files.write(Path(directory.name))
    try:
        tables = frames(declared)
        prepare_mlflow()
        import mlflow.pyfunc  # noqa: PLC0415 - only models of this format need it

        function = mlflow.pyfunc.load_model(directory.name, suppress_warnings=True)
    except ImportError as error:
        raise missing_library(files, error) from error
    except Exception as error:  # code of the author
        text = " ".join(f"{type(error).__name__}: {error}".replace(f"{directory.name}/", "").split())
        raise PackageError("bad_model", f"model {files.origin} cannot be loaded: {text[:500]}") from error
    classes = _classes(described)
    scores = tuple(partial(_scored, (function, directory), classes, table) for table in tables)
    return Backend(declared, scores, None, classes)


def _scored(loaded: tuple[Any, object], classes: tuple[str, ...], frame: Frame, features: Features) -> NDArray[Any]:
    function, _its_directory = loaded
    given = function.predict(frame(features))
    if classes and hasattr(given, "columns"):  # a DataFrame, whose columns may come in another order
        given = given[list(classes)]
    return np.asarray(given)


def _classes(described: MlModel) -> tuple[str, ...]:
    """Several numbers with names, in the signature's output, are the probabilities of classes."""
    outputs = described.outputs
    named = len(outputs) > 1 and all(each.get("name") and each.get("type") in {"double", "float"} for each in outputs)
    return tuple(str(each["name"]) for each in outputs) if named else ()
