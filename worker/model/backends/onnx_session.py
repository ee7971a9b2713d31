"""ONNX models, in onnxruntime: their operators are onnxruntime's own, so no code of the model's author runs."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Float, Texts
from worker.model.backends.backend import Backend, missing_library, require_columns
from worker.model.contract import Features, ModelInput
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
_LABELS = {"tensor(int64)", "tensor(string)"}
_QUIET = 4  # of onnxruntime's log levels: a failure is raised as well


def load_onnx(files: ModelFiles, config: Mapping[str, Any], declared: tuple[ModelInput, ...]) -> Backend:
    """Load a model of the flavour `onnx`.

    Args:
        files: of the model.
        config: the flavour's, from the MLmodel file.
        declared: the columns of the signature.

    Raises:
        PackageError: it cannot be read, gives no probabilities, or takes other columns.
    """
    session = _session(files, str(config.get("data")))
    given = {each.name: each for each in session.get_inputs()}
    if unknown := [f"{each.name} ({each.type})" for each in given.values() if each.type not in _TYPES]:
        raise PackageError("wrong_signature", f"model {files.origin} takes {', '.join(unknown)}, which is no table")
    feeds: Callable[[Features], dict[str, NDArray[Any]]]
    if len(given) == 1 and set(given) != {each.name for each in declared}:
        inputs, feeds = declared, _matrix(files, next(iter(given.values())), declared)
    else:
        inputs = require_columns(files, declared, list(given))
        feeds = _columns({name: _TYPES[each.type] for name, each in given.items()}, inputs)
    run = partial(_run, session, feeds)
    at = _numbers(files, session)
    label = 1 - at if len(session.get_outputs()) == 2 else None

    def score(features: Features) -> NDArray[Any]:
        return _table(run(features)[at])

    def classes_shown(features: Features) -> tuple[str | None, ...]:
        results = run(features)
        return _classes(results[at], [] if label is None else np.asarray(results[label]).tolist())

    return Backend(inputs, (score,), classes_shown=classes_shown)


def _run(session: Any, feeds: Callable[[Features], dict[str, NDArray[Any]]], features: Features) -> list[Any]:
    return session.run(None, feeds(features))  # type: ignore[no-any-return]  # onnxruntime has no types


def _session(files: ModelFiles, name: str) -> Any:
    files.file(name)
    try:
        import onnxruntime  # noqa: PLC0415 - only models of this format need it
    except ImportError as error:
        raise missing_library(files, error) from error
    options = onnxruntime.SessionOptions()
    # One thread: the scores of a row must not depend on how work is divided.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    with tempfile.TemporaryDirectory(prefix="hazardstream-") as directory:
        files.write(Path(directory))  # large models keep their weights in a second file, found by its path
        try:
            return onnxruntime.InferenceSession(str(Path(directory, name)), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class of errors
            text = " ".join(str(error).replace(f"{directory}/", "").split())
            raise PackageError(
                "bad_model", f"model {files.origin}: onnxruntime cannot read it: {text[:300]}"
            ) from error


def _matrix(
    files: ModelFiles, given: Any, declared: tuple[ModelInput, ...]
) -> Callable[[Features], dict[str, NDArray[Any]]]:
    """For a model with one tensor of numbers: the columns in the order of the signature."""
    width = given.shape[1] if len(given.shape) == 2 else None
    if len(given.shape) != 2 or (isinstance(width, int) and width != len(declared)):
        raise PackageError(
            "wrong_signature",
            f"model {files.origin} takes {given.name} of shape {given.shape}, and its signature has {len(declared)} "
            "columns; convert the model for rows of these columns",
        )
    if any(each.categorical for each in declared) or _TYPES[given.type] is object:
        raise PackageError(
            "wrong_signature",
            f"model {files.origin} takes one tensor {given.name}, which cannot hold texts and numbers; convert the "
            "model with one input for each column",
        )
    dtype = _TYPES[given.type]
    return lambda features: {given.name: _tensor(features.numbers, dtype)}


def _columns(
    dtypes: Mapping[str, Any], inputs: tuple[ModelInput, ...]
) -> Callable[[Features], dict[str, NDArray[Any]]]:
    numeric = tuple(each.name for each in inputs if not each.categorical)

    def feeds(features: Features) -> dict[str, NDArray[Any]]:
        columns = features.by_name(numeric)
        return {name: _tensor(columns[name], dtype)[:, None] for name, dtype in dtypes.items()}

    return feeds


def _tensor(values: Float | Texts, dtype: Any) -> NDArray[Any]:
    if dtype is object:
        if any(value is None for value in values):
            raise ValueError("a text is missing, and an ONNX model has no missing text")
        return values
    if np.dtype(dtype).kind != "f" and np.isnan(values).any():
        raise ValueError("a value is missing, and an integer or boolean of an ONNX model cannot be")
    return values.astype(dtype)


def _numbers(files: ModelFiles, session: Any) -> int:
    """Which output has the numbers: the only one, or the probabilities beside a label."""
    outputs = session.get_outputs()
    rest = [at for at, each in enumerate(outputs) if each.type not in _LABELS]
    if len(rest) != 1 or len(outputs) > 2:
        shown = ", ".join(f"{each.name} ({each.type})" for each in outputs)
        raise PackageError(
            "wrong_output",
            f"model {files.origin} gives {shown}; it must give one number for each row, or a label and probabilities",
        )
    return rest[0]


def _table(numbers: Any) -> NDArray[Any]:
    """An output as an array; a list of mappings from class to probability is one, too."""
    if isinstance(numbers, list) and numbers and isinstance(numbers[0], dict):
        return np.array([list(row.values()) for row in numbers])
    return np.asarray(numbers)


def _classes(numbers: Any, labels: list[Any]) -> tuple[str | None, ...]:
    if isinstance(numbers, list) and numbers and isinstance(numbers[0], dict):
        return tuple(map(str, numbers[0]))
    table = _table(numbers)
    if table.ndim != 2 or table.shape[1] < 2:
        return ()
    shown = {at: str(label) for at, label in zip(table.argmax(axis=1).tolist(), labels, strict=False)}
    if all(label == str(at) for at, label in shown.items()):  # the usual numbers from 0 on
        shown = {at: str(at) for at in range(table.shape[1])}
    return tuple(shown.get(at) for at in range(table.shape[1]))
