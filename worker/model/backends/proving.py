"""Proves once, when a model is loaded, what would otherwise have to be checked for each row.

Which types it takes, which columns may be missing, how many rows a call must have, what shape its output has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model.backends.backend import Backend, Score
from worker.model.backends.batches import checked_shape, sized, steady_size
from worker.model.backends.probes import lacking, probe_rows
from worker.model.contract import Features, ModelInput
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError

_UNKNOWN = "a text that no model was trained on"


@dataclass(frozen=True)
class Proven:
    """What is certain of a model.

    Attributes:
        score: scores rows; a row's score does not depend on the others.
        inputs: `required` says which may not be missing.
        output: of the probe rows, shape [n] or [n, classes].
        probes: rows that it scores.
        rows_per_call: see `worker.model.backends.batches.SIZES`.
        known_texts: by input, the only texts with which the model does not fail; other inputs take any, or are not
            known.
        fractions: whether the output is of a type that holds fractions, and not of integers.
    """

    score: Score
    inputs: tuple[ModelInput, ...]
    output: NDArray[np.float64]
    probes: Features
    rows_per_call: int | None
    known_texts: Mapping[str, frozenset[str]]
    fractions: bool


def prove(files: ModelFiles, backend: Backend, example: Mapping[str, list[Any]]) -> Proven:
    """Try a model.

    Args:
        files: of the model, for messages.
        backend: the model.
        example: rows of its input example, by column.

    Raises:
        PackageError: it does not score rows of its own signature, or scores the same row differently.
    """
    probes = probe_rows(backend.inputs, example, backend.texts)
    score, output, fractions = _types_it_takes(files, backend, probes, example)
    if not np.isfinite(output).all():
        found = output[~np.isfinite(output)].flat[0]
        raise PackageError(
            "wrong_output", f"model {files.origin} gives {found} for a row without missing values{_of(example)}"
        )
    try:
        size = steady_size(score, probes)
    except Exception as error:
        raise PackageError("wrong_output", f"model {files.origin}: {_text(error)}") from error
    score = sized(score, size)
    required = _required(score, backend.inputs, probes)
    inputs = tuple(each._replace(required=each.name in required) for each in backend.inputs)
    return Proven(score, inputs, output, probes, size, _known_texts(score, backend, probes, example), fractions)


def _types_it_takes(
    files: ModelFiles, backend: Backend, probes: Features, example: Mapping[str, list[Any]]
) -> tuple[Score, NDArray[np.float64], bool]:
    """With integers as doubles, which may be missing, if that gives the same scores; else in their declared types."""
    outputs: dict[int, NDArray[np.float64]] = {}
    reasons, fractions = [], True
    for at, score in enumerate(backend.scores):
        try:
            given = score(probes)
            outputs[at], fractions = checked_shape(given, len(probes)), given.dtype.kind == "f"
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            reasons.append(_text(error))
    last = len(backend.scores) - 1
    if last not in outputs:
        texts = [each.name for each in backend.inputs if each.categorical and each.name not in example]
        advice = f"; log it with an input_example, which shows values of {', '.join(texts)}" if texts else ""
        raise PackageError(
            "wrong_output",
            f"model {files.origin} cannot score rows that suit its signature{_of(example)}; it raises "
            f"{reasons[-1]}{advice}",
        )
    same = 0 in outputs and np.array_equal(outputs[0], outputs[last], equal_nan=True)
    return (backend.scores[0] if same else backend.scores[last]), outputs[last], fractions


def _required(score: Score, inputs: tuple[ModelInput, ...], probes: Features) -> set[str]:
    """Inputs that may not be missing: without one, the model fails or gives no number."""
    numeric = [each.name for each in inputs if not each.categorical]
    few = probes.take(slice(0, 4))

    def scored_without(names: list[str]) -> bool:
        try:
            return bool(np.isfinite(score(lacking(few, numeric, names))).all())
        except Exception:  # noqa: BLE001 - a model may raise anything
            return False

    required = {each.name for each in inputs if not scored_without([each.name])}
    optional = [each.name for each in inputs if each.name not in required]
    if optional and not scored_without(optional):
        return {each.name for each in inputs}
    return required


def _known_texts(
    score: Score, backend: Backend, probes: Features, example: Mapping[str, list[Any]]
) -> dict[str, frozenset[str]]:
    """Texts of the training data, where the model fails on any other and the example confirms that it sees them raw."""
    known = {}
    few = probes.take(slice(0, 4))
    for name, texts in backend.texts.items():
        if not example.get(name) or not set(example[name]) <= set(texts):
            continue
        strange = Features(few.numbers, few.categories | {name: np.full(len(few), _UNKNOWN, object)})
        try:
            score(strange)
        except Exception:  # noqa: BLE001 - a model may raise anything
            known[name] = frozenset(texts)
    return known


def _of(example: Mapping[str, list[Any]]) -> str:
    return " (those of its input example, and others like them)" if example else ""


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
