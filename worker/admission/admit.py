"""How a model comes into use: trusted or not, tried in a process of its own, loaded, and fit for the pipeline."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from worker.admission.compatibility import prove
from worker.admission.failures import ModelFailures
from worker.admission.sandboxed_load import try_out
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.config.trust import Trust
from worker.model.boosting import xgboost
from worker.model.package import ModelPackage, open_package
from worker.model.package_files import Contents, PackageError

_LOG = structlog.get_logger(__name__)
_CHECK = 1
"""Counts up when the check changes: models that passed an older one are tried again."""


@dataclass(frozen=True)
class Demands:
    """What a model has to meet.

    Attributes:
        pipeline: whose records it is to score; None: it is not to score here.
        max_ms: longest that it may take to score 1,000 readings.
        trust: whom the operator trusts.
        failures: models that failed while they scored; None: that does not matter here.
    """

    pipeline: Pipeline | None = None
    max_ms: int = 200
    trust: Trust = field(default_factory=Trust)
    failures: ModelFailures | None = None


def demands_of(settings: Settings, pipeline: Pipeline | None = None) -> Demands:
    """What these settings demand of a model that is to score a pipeline's records; or of one that is only looked at.

    Raises:
        UserError: the settings name nobody that could be trusted.
    """
    failures = ModelFailures(settings.cache_directory)
    return Demands(pipeline, settings.model_max_ms, settings.trust, failures if pipeline else None)


def admit(
    contents: Contents, version: str, demands: Demands, cache_directory: Path, *, from_registry: bool = False
) -> ModelPackage:
    """Try a model, load it, and see that it meets the demands.

    Args:
        contents: its files, verified.
        version: as it will be stamped on predictions.
        demands: of who wants to use it.
        cache_directory: where it is remembered which models have passed the check.
        from_registry: whether MLflow handed it out.

    Raises:
        PackageError: it must not be used.
    """
    trusted = demands.trust.covers(contents.digest, from_registry=from_registry)
    name = contents.manifest.name
    if demands.failures is not None and (why := demands.failures.of(name, version, contents.digest)):
        raise PackageError("failed_in_use", f"model package {contents.origin}: it failed while it scored: {why}")
    passed = passed_note(cache_directory, contents, version, demands.pipeline, trusted=trusted)
    if not _exists(passed):
        try_out(contents, version, demands.pipeline, max_ms=demands.max_ms, trusted=trusted)
    package = open_package(contents, version=version, trusted=trusted)
    if demands.pipeline is not None:
        prove(package, demands.pipeline, max_ms=demands.max_ms)
    note(passed)
    return package


def passed_note(
    cache_directory: Path, contents: Contents, version: str, pipeline: Pipeline | None, *, trusted: bool
) -> Path:
    """The file whose presence says that a model has passed the check for a pipeline, with the libraries of now."""
    libraries = [np.__version__, xgboost.__version__]
    scored = pipeline and pipeline.model_dump_json(by_alias=True)
    identity = [_CHECK, contents.digest, version, scored, libraries, trusted]
    return cache_directory / "models" / "passed" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a directory on the way that may not be entered
        return False


def note(passed: Path) -> None:
    """Remember that a model has passed the check."""
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        _LOG.debug("a passed check is not remembered: the next start repeats it", reason=str(error))
