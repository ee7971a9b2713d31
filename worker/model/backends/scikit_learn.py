"""scikit-learn models: estimators and pipelines, written with skops (read without running code) or as a pickle."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from worker.model.backends.backend import Backend, Score, missing_library, require_columns, require_trust
from worker.model.backends.frames import frames
from worker.model.boosting import with_estimators
from worker.model.contract import Features, ModelInput, Task
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError

_LOG = structlog.get_logger(__name__)
_SCHEMA, _SCHEMA_MAX_BYTES = "schema.json", 64 << 20  # in a skops file; the numbers are in other members


def load_sklearn(
    files: ModelFiles, config: Mapping[str, Any], declared: tuple[ModelInput, ...], *, trusted: bool
) -> Backend:
    """Load a model of the flavour `sklearn`.

    Args:
        files: of the model.
        config: the flavour's, from the MLmodel file.
        declared: the columns of the signature.
        trusted: whether code of the model's author may run.

    Raises:
        PackageError: it is not trusted, cannot be read, gives no probability, or takes other columns.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = _read(files, config, trusted=trusted)
        names = getattr(estimator, "feature_names_in_", None)
        inputs = declared if names is None else require_columns(files, declared, list(map(str, names)))
        tables: tuple[Callable[[Features], Any], ...] = (
            frames(inputs) if names is not None else (_array(files, inputs),)
        )
        task, predict = _prediction(files, estimator)
    except ImportError as error:
        raise missing_library(files, error) from error
    except PackageError:
        raise
    except Exception as error:  # a pickle may raise anything
        text = f"{type(error).__name__}: {error}"
        raise PackageError("bad_model", f"model {files.origin} cannot be read: {text}{_versions(config)}") from error
    _warn_of_versions(files, caught)
    _use_one_thread(estimator)
    classes = () if task is Task.REGRESSION else tuple(str(each) for each in np.asarray(estimator.classes_).tolist())
    scores: tuple[Score, ...] = tuple(partial(_scored, predict, table) for table in tables)
    return Backend(inputs, scores, task, classes, _texts_seen(estimator, inputs))


def _scored(predict: Callable[[Any], Any], table: Callable[[Features], Any], features: Features) -> NDArray[Any]:
    return np.asarray(predict(table(features)))


def _read(files: ModelFiles, config: Mapping[str, Any], *, trusted: bool) -> Any:
    name = str(config.get("pickled_model"))
    content = files.file(name)
    if config.get("serialization_format") == "skops":
        import skops.io  # noqa: PLC0415 - only models of this format need it

        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo(_SCHEMA).file_size > _SCHEMA_MAX_BYTES:  # a small archive may inflate to gigabytes
                limit = f"{_SCHEMA_MAX_BYTES >> 20} MiB"
                raise PackageError("too_large", f"model {files.origin}: {_SCHEMA} in {name} has more than {limit}")
            _find_xgboost(archive.read(_SCHEMA))
        foreign = skops.io.get_untrusted_types(data=content)
        if foreign:
            require_trust(files, f"{name} holds the types {', '.join(foreign)}", trusted=trusted)
        return skops.io.loads(content, trusted=foreign)
    require_trust(files, f"{name} is a pickle", trusted=trusted)
    _find_xgboost(content)
    return pickle.load(io.BytesIO(content))  # noqa: S301 - the operator trusts it


def _find_xgboost(content: bytes) -> None:
    if b"xgboost" in content:  # it takes a second
        with_estimators()


def _array(files: ModelFiles, inputs: tuple[ModelInput, ...]) -> Callable[[Features], Any]:
    """For a model that was trained on an array, which has no names: the columns in the order of the signature."""
    if any(each.categorical for each in inputs):
        raise PackageError(
            "wrong_signature",
            f"model {files.origin} was trained on an array without column names, and its signature has texts; train it "
            "on a DataFrame",
        )
    return lambda features: features.numbers


def _prediction(files: ModelFiles, estimator: Any) -> tuple[Task, Callable[[Any], Any]]:
    from sklearn.base import is_classifier, is_regressor  # noqa: PLC0415 - only models of this format need it

    kind = type(estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator).__name__
    if not hasattr(estimator, "predict"):
        text = f"model {files.origin} holds a {kind}, which cannot predict; log the model itself"
        raise PackageError("bad_model", text)
    if is_regressor(estimator):
        return Task.REGRESSION, estimator.predict
    if not is_classifier(estimator):
        raise PackageError("wrong_output", f"model {files.origin}: a {kind} is neither a classifier nor a regressor")
    if not hasattr(estimator, "predict_proba"):
        raise PackageError(
            "wrong_output",
            f"model {files.origin}: a {kind} gives classes and no probabilities; wrap it in scikit-learn's "
            "CalibratedClassifierCV before the training, or train a classifier that has predict_proba",
        )
    classes = np.asarray(estimator.classes_, dtype=object)
    if classes.ndim != 1 or isinstance(classes[0], np.ndarray) or len(classes) < 2:
        raise PackageError(
            "wrong_output", f"model {files.origin}: a {kind} with several targets, or one class; train it on one target"
        )
    return Task.BINARY if len(classes) == 2 else Task.MULTICLASS, estimator.predict_proba


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """The estimators in an estimator, and itself: steps, fitted copies, members of ensembles."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        for each in value.values():
            yield from _parts(each, seen)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each, seen)
    elif hasattr(value, "get_params") or type(value).__module__.startswith("sklearn."):
        yield value
        yield from _parts(getattr(value, "__dict__", {}), seen)


def _use_one_thread(estimator: Any) -> None:
    """Threads of a forest add up its trees in any order, so the last bits of a score would change from run to run."""
    for part in _parts(estimator, set()):
        if getattr(part, "n_jobs", None) is not None:
            part.n_jobs = 1


def _texts_seen(estimator: Any, inputs: tuple[ModelInput, ...]) -> dict[str, tuple[str, ...]]:
    """The values of text columns in the training data, where an encoder in the model has kept them."""
    categorical = {each.name for each in inputs if each.categorical}
    seen: dict[str, tuple[str, ...]] = {}
    for part in _parts(estimator, set()):
        names, values = getattr(part, "feature_names_in_", None), getattr(part, "categories_", None)
        if names is not None and isinstance(values, list) and len(names) == len(values):
            for name, known in zip(map(str, names), values, strict=True):
                if name in categorical:
                    seen[name] = tuple(value for value in known.tolist() if isinstance(value, str))
    return seen


def _versions(config: Mapping[str, Any]) -> str:
    import sklearn  # noqa: PLC0415 - only models of this format need it

    written = config.get("sklearn_version")
    if written in {None, sklearn.__version__}:
        return ""
    return f"; scikit-learn {written} has written it, and {sklearn.__version__} is installed"


def _warn_of_versions(files: ModelFiles, caught: list[warnings.WarningMessage]) -> None:
    for each in caught:
        if type(each.message).__name__ == "InconsistentVersionWarning":
            text = " ".join(str(each.message).split())
            _LOG.warning("model written by another scikit-learn", model=files.name, reason=text[:300])
            return
