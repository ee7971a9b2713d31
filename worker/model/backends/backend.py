"""What each format's own module gives of a model, and what they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from worker.model.contract import Contributions, Features, ModelInput, Task
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError

Score = Callable[[Features], NDArray[Any]]
"""Gives of n rows: a regression's values [n]; the positive class's probability [n]; or that of each class [n, k]."""


@dataclass(frozen=True)
class Backend:
    """A model in its own library.

    Attributes:
        inputs: the columns it takes, in its own order.
        scores: ways to score. The first takes integers and booleans as doubles; a second one, where there is one, takes
            them in their declared types, in which none may be missing.
        task: of the model; None: it does not say.
        classes: in the order of the columns; empty: it does not say.
        texts: by input, values that the model was trained on, where it says so.
        classes_shown: names of the classes as far as a model shows them when it scores these rows; None for the others.
        contributions: see `Model.contributions`; None: there are none.
    """

    inputs: tuple[ModelInput, ...]
    scores: tuple[Score, ...]
    task: Task | None = None
    classes: tuple[str, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes_shown: Callable[[Features], tuple[str | None, ...]] | None = None
    contributions: Callable[[Features], Contributions] | None = None


def require_trust(files: ModelFiles, what: str, *, trusted: bool) -> None:
    """Stop before code of a model's author runs, unless the operator trusts the model.

    Raises:
        PackageError: the model is not trusted; the text says how to trust it.
    """
    if not trusted:
        raise PackageError(
            "untrusted",
            f"model {files.origin}: {what}, and loading that runs its author's code. If you trust the author, allow "
            f"this model with HAZARDSTREAM_MODEL_TRUST=sha256:{files.digest}, or with `trust: sha256:{files.digest}` "
            "in the pipeline file, or allow every model in MLflow with `registry` in place of the digest",
        )


_EXTRAS = {"onnxruntime": "onnx", "pandas": "models", "skops": "models"}
"""Libraries that an extra of hazardstream brings."""


def missing_library(files: ModelFiles, error: ImportError) -> PackageError:
    """The error for a model whose library is not installed."""
    library = (error.name or str(error)).partition(".")[0]
    extra = _EXTRAS.get(library)
    remedy = f"pip install 'hazardstream[{extra}]'" if extra else f"install {library} beside hazardstream"
    return PackageError("missing_library", f"model {files.origin} needs {library}, which is not installed: {remedy}")


def require_columns(files: ModelFiles, declared: tuple[ModelInput, ...], own: list[str]) -> tuple[ModelInput, ...]:
    """The inputs of the signature in the order of the columns that the model itself names.

    Raises:
        PackageError: the signature and the model name different columns.
    """
    by_name = {each.name: each for each in declared}
    if missing := [name for name in own if name not in by_name]:
        raise _differ(files, f"the model takes {', '.join(missing)}, which the signature does not have")
    if extra := [each.name for each in declared if each.name not in own]:
        raise _differ(files, f"the signature has {', '.join(extra)}, which the model does not take")
    return tuple(by_name[name] for name in own)


def _differ(files: ModelFiles, how: str) -> PackageError:
    return PackageError(
        "wrong_signature", f"model {files.origin}: {how}; log it again with a signature of the rows it was trained on"
    )


def refused_types(inputs: tuple[ModelInput, ...]) -> str:
    """Names of the inputs that are texts, for a message; empty if there are none."""
    return ", ".join(each.name for each in inputs if each.categorical)
