"""Loads a plain MLflow model: chooses the format, the task, and proves what the worker relies on."""

from dataclasses import replace

from worker.model.backends.backend import Backend
from worker.model.backends.guarded import guarded
from worker.model.backends.mlmodel import MlModel, read_mlmodel, require_signature
from worker.model.backends.onnx_session import load_onnx
from worker.model.backends.plain_model import PlainModel
from worker.model.backends.proving import Proven, prove
from worker.model.backends.pyfunc import load_pyfunc
from worker.model.backends.scaled_booster import load_scaled_booster
from worker.model.backends.scikit_learn import load_sklearn
from worker.model.backends.xgboost_booster import load_xgboost
from worker.model.contract import ModelFailedError, Task
from worker.model.facts import Facts
from worker.model.model_files import MLMODEL, TUNED_MODEL, ModelFiles
from worker.model.package_files import PackageError


def load_plain_model(files: ModelFiles, *, version: str, trusted: bool = False, task: Task | None = None) -> PlainModel:
    """Load a model that MLflow wrote.

    Args:
        files: of the model.
        version: as predictions will name it.
        trusted: whether code of the model's author may run.
        task: that the pipeline demands; None: the model says it.

    Raises:
        PackageError: it must not be used; the text says why and what to do.
    """
    classical = MLMODEL not in files.files
    described = read_mlmodel(files.below(TUNED_MODEL) if classical else files)
    flavor, backend = _backend(files, described, classical=classical, trusted=trusted)
    explains = backend.contributions and guarded(backend.contributions)
    backend = replace(backend, scores=tuple(map(guarded, backend.scores)), contributions=explains)
    proven = prove(files, backend, described.example)
    facts = described.facts.over(files.facts).with_error_band()
    task = _task(files, backend, proven, task or facts.task)
    model = PlainModel(
        name=files.name,
        version=version,
        digest=files.digest,
        origin=files.origin,
        task=task,
        inputs=proven.inputs,
        classes=_classes(files, backend, proven, facts, task),
        threshold=facts.threshold if task is Task.BINARY else None,
        error_band=facts.error_band if task is Task.REGRESSION else None,
        metrics=facts.metrics,
        flavor=flavor,
        backend=backend,
        proven=proven,
    )
    try:
        unscored = model.predict(proven.probes).unscored
    except ModelFailedError as error:
        raise PackageError("wrong_output", f"model {files.origin}: {error}") from error
    if unscored:
        why = next(iter(unscored.values()))
        raise PackageError("wrong_output", f"model {files.origin}, tried with rows that suit its signature: {why}")
    return model


def _backend(files: ModelFiles, described: MlModel, *, classical: bool, trusted: bool) -> tuple[str, Backend]:
    """The first of the model's formats that this installation reads in its own library; else MLflow's function."""
    flavors = described.flavors
    if classical:
        return TUNED_MODEL, load_scaled_booster(files, described)
    declared = require_signature(described, files)
    if "xgboost" in flavors:
        return "xgboost", load_xgboost(files, flavors["xgboost"], declared)
    if "sklearn" in flavors:
        return "sklearn", load_sklearn(files, flavors["sklearn"], declared, trusted=trusted)
    if "onnx" in flavors:
        return "onnx", load_onnx(files, flavors["onnx"], declared)
    if "python_function" in flavors:
        return "python_function", load_pyfunc(files, described, declared, trusted=trusted)
    raise PackageError(
        "bad_model",
        f"model {files.origin} has the flavours {', '.join(flavors) or 'none'}; the worker reads xgboost, sklearn, "
        "onnx and python_function",
    )


def _task(files: ModelFiles, backend: Backend, proven: Proven, said: Task | None) -> Task:
    """The task that the model itself says, else what is said of it, else what its output looks like."""
    width = proven.output.shape[1] if proven.output.ndim == 2 else 1
    if backend.task is not None and said not in {None, backend.task}:
        raise PackageError(
            "wrong_output",
            f"model {files.origin} is a {backend.task} model, and the pipeline or the model's metadata say {said}; "
            "correct `task`",
        )
    task = backend.task or said or {1: Task.REGRESSION, 2: Task.BINARY}.get(width, Task.MULTICLASS)
    fits = {Task.REGRESSION: width == 1, Task.BINARY: width <= 2, Task.MULTICLASS: width >= 2}
    if not fits[task]:
        raise PackageError(
            "wrong_output",
            f"model {files.origin} gives {width} numbers for each row, which suits no {task} model; correct `task` in "
            "the pipeline or in the model's metadata",
        )
    if said is None and backend.task is None and width == 1 and not proven.fractions:
        raise PackageError(
            "wrong_output",
            f"model {files.origin} gives whole numbers of an integer type: classes, or counts? For classes, log a "
            "model that gives probabilities; if it is a regression, write `task: regression` in the pipeline file",
        )
    return task


def _classes(files: ModelFiles, backend: Backend, proven: Proven, facts: Facts, task: Task) -> tuple[str, ...]:
    if task is Task.REGRESSION:
        return ()
    count = proven.output.shape[1] if proven.output.ndim == 2 else 2
    shown = backend.classes or (backend.classes_shown(proven.probes) if backend.classes_shown else ())
    if facts.classes is not None:
        if len(set(facts.classes)) != count:
            raise PackageError(
                "wrong_output",
                f"model {files.origin} has {count} classes, and its metadata names {', '.join(facts.classes)}; correct "
                "`classes` there",
            )
        return facts.classes
    if None in shown or (shown and len(shown) != count):
        raise PackageError(
            "wrong_output",
            f"model {files.origin} does not say the names of all its {count} classes; log it with "
            'metadata={"classes": [...]}, in the order of its probabilities',
        )
    return tuple(map(str, shown)) or tuple(map(str, range(count)))
