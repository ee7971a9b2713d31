"""Reads an MLmodel file: the flavours of a model, its signature, its example and its metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import yaml

from worker.model.contract import InputType, ModelInput
from worker.model.facts import Facts, facts_from_metadata
from worker.model.model_files import MLMODEL, ModelFiles
from worker.model.package_files import PackageError

_TYPES = get_args(InputType)
_MOST_EXAMPLE_ROWS = 64
_WRITE_AGAIN = "MLflow writes this file: copy the model again from there, or log it again"


@dataclass(frozen=True)
class MlModel:
    """What an MLmodel file says.

    Attributes:
        flavors: configuration of each flavour by its name.
        inputs: the columns of the signature; None: there is no signature.
        outputs: the columns or tensors of the signature's output, as MLflow describes them.
        facts: from the metadata that the model was logged with.
        example: columns of the rows that the model was logged with, by name; empty where there are none.
    """

    flavors: Mapping[str, Mapping[str, Any]]
    inputs: tuple[ModelInput, ...] | None
    outputs: tuple[Mapping[str, Any], ...]
    facts: Facts
    example: Mapping[str, list[Any]]


def read_mlmodel(files: ModelFiles) -> MlModel:
    """Read the MLmodel file of a model.

    Raises:
        PackageError: it cannot be read, or the signature has something else than named columns of simple types.
    """
    where = f"model {files.origin}: {MLMODEL}"
    try:
        content = yaml.safe_load(files.file(MLMODEL))
        flavors = _flavors(content)
        signature = content.get("signature") or {}
        columns = json.loads(signature.get("inputs") or "null")
        outputs = tuple(json.loads(signature.get("outputs") or "[]"))
        facts = facts_from_metadata(content.get("metadata") or {})
        inputs = None if columns is None else tuple(_input(column, where) for column in columns)
    except PackageError:
        raise
    except Exception as error:  # YAML and JSON of unknown origin
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        text = str(getattr(error, "problem", None) or " ".join(str(error).split()))
        raise PackageError("bad_model", f"{where}{line} cannot be read: {text}; {_WRITE_AGAIN}") from error
    if inputs is not None:
        _check_names(inputs, where)
    return MlModel(flavors, inputs, outputs, facts, _example(files, content))


def require_signature(model: MlModel, files: ModelFiles) -> tuple[ModelInput, ...]:
    """The columns that a model takes.

    Raises:
        PackageError: it has no signature.
    """
    if not model.inputs:
        raise PackageError(
            "wrong_signature",
            f"model {files.origin} has no signature, so the names and types of its columns are not known; log it again "
            "with the signature that mlflow.models.infer_signature(TRAINING_ROWS, PREDICTIONS) gives",
        )
    return model.inputs


def _input(column: Mapping[str, Any], where: str) -> ModelInput:
    name, kind = column.get("name"), column.get("type")
    if kind == "tensor":
        raise PackageError(
            "wrong_signature",
            f"{where}: the signature is a tensor, which has no column names; log the model with a signature inferred "
            "from a DataFrame, whose columns have names",
        )
    if not isinstance(name, str) or not name:
        raise PackageError(
            "wrong_signature",
            f"{where}: a column of the signature has no name; log the model with a signature inferred from a DataFrame",
        )
    if kind not in _TYPES:
        raise PackageError(
            "wrong_signature",
            f"{where}: column {name!r} has the type {kind}; a column must be one of {', '.join(_TYPES)}",
        )
    return ModelInput(name, cast("InputType", kind), required=bool(column.get("required", True)))


def _check_names(inputs: tuple[ModelInput, ...], where: str) -> None:
    names = [each.name for each in inputs]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise PackageError(
            "wrong_signature",
            f"{where}: the signature names {', '.join(doubled)} twice; log the model with columns of different names",
        )


def _flavors(content: Any) -> dict[str, Mapping[str, Any]]:
    if not (isinstance(content, dict) and isinstance(content.get("flavors"), dict)):
        raise TypeError("it does not list the model's flavors")
    return {str(name): dict(config or {}) for name, config in content["flavors"].items()}


def _example(files: ModelFiles, content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The rows of the input example; nothing where it is not a table, because it only makes the check sharper."""
    said = content.get("saved_input_example_info") or {}
    try:
        table = json.loads(files.files[str(said["artifact_path"])])
        rows = np.array(table["data"], dtype=object)[:_MOST_EXAMPLE_ROWS]
        return {str(name): rows[:, at].tolist() for at, name in enumerate(table["columns"])}
    except (KeyError, ValueError, TypeError, IndexError):
        return {}
