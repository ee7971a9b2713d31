"""Admits a model to use: check trust, load it in a sandbox, load it here, check that it suits the pipeline."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from worker.admission.compatibility import alarm_policy, demanded_task, require_fit, too_slow
from worker.admission.failures import ModelFailures
from worker.admission.sandboxed_load import load_in_sandbox
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.config.trust import Trust
from worker.model.boosting import xgboost
from worker.model.contract import Model
from worker.model.formats import AnyFiles, open_model
from worker.model.model_files import ModelFiles
from worker.model.package_files import PackageError

_LOG = structlog.get_logger(__name__)
_CHECK = 3
"""Version of the check. Raise it when the check changes, so that models are checked again."""
_LIBRARIES = ("scikit-learn", "pandas", "scipy", "skops", "onnxruntime", "mlflow-skinny")


@dataclass(frozen=True)
class Demands:
    """What a model has to meet before it is used.

    Attributes:
        pipeline: whose records it will score; None: it will not score here.
        max_ms: processor time, ms, that 1,000 readings may take.
        trust: what the operator trusts.
        failures: models that failed while they scored; None: ignore such failures.
    """

    pipeline: Pipeline | None = None
    max_ms: int = 200
    trust: Trust = field(default_factory=Trust)
    failures: ModelFailures | None = None


def demands_of(settings: Settings, pipeline: Pipeline | None = None) -> Demands:
    """The demands of these settings on a model that will score a pipeline's records, or (None) only be inspected.

    Raises:
        UserError: HAZARDSTREAM_MODEL_TRUST is invalid.
    """
    failures = ModelFailures(settings.cache_directory)
    trust = settings.trust if pipeline is None else settings.trust.and_(pipeline.trust)
    return Demands(pipeline, settings.model_max_ms, trust, failures if pipeline else None)


def admit(
    contents: AnyFiles, version: str, demands: Demands, cache_directory: Path, *, from_registry: bool = False
) -> Model:
    """Check a model and load it.

    Args:
        contents: its files, verified.
        version: as predictions will name it.
        demands: to be met.
        cache_directory: keeps notes of models that passed the check in the sandbox, which are not repeated.
        from_registry: whether the files are from MLflow.

    Raises:
        PackageError: it does not meet the demands.
    """
    trusted = demands.trust.covers(contents.digest, from_registry=from_registry)
    if demands.failures is not None and (why := demands.failures.of(contents.name, version, contents.digest)):
        raise PackageError("failed_in_use", f"model {contents.origin} failed while it scored: {why}")
    passed = passed_note(cache_directory, contents, version, demands.pipeline, trusted=trusted)
    if not _exists(passed):
        try:
            load_in_sandbox(contents, version, demands.pipeline, max_ms=demands.max_ms, trusted=trusted)
        except PackageError as error:
            if error.fault != "untrusted" or not demands.trust.digests:
                raise
            known = ", ".join(f"sha256:{each}" for each in sorted(demands.trust.digests))
            raise PackageError("untrusted", f"{error}. Trusted is {known}: these files differ from it") from error
    model = open_model(contents, version=version, trusted=trusted, task=demanded_task(demands.pipeline))
    if demands.pipeline is not None:
        require_fit(model, demands.pipeline)
        alarm_policy(model, demands.pipeline)
        # The sandbox refuses a slow model. One that has passed is used: a busy machine makes each model slower.
        if slow := too_slow(model, demands.max_ms):
            _LOG.warning("slow model, used because it has passed the check", reason=slow)
    note(passed)
    return model


def passed_note(
    cache_directory: Path, contents: AnyFiles, version: str, pipeline: Pipeline | None, *, trusted: bool
) -> Path:
    """The file that exists if a model has passed the check for this pipeline with the installed libraries."""
    libraries: list[object] = [np.__version__, xgboost.__version__]
    if isinstance(contents, ModelFiles):  # of a plain model, other libraries matter too
        libraries += [_version_of(name) for name in _LIBRARIES] + [contents.facts.model_dump(mode="json")]
    scored = pipeline and pipeline.model_dump_json(by_alias=True)
    identity = [_CHECK, contents.digest, version, scored, libraries, trusted]
    return cache_directory / "models" / "passed" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _version_of(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a parent directory that this user may not enter
        return False


def note(passed: Path) -> None:
    """Remember that a model has passed the check."""
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        _LOG.debug("cannot note that the model passed the check; the next start repeats it", reason=str(error))
