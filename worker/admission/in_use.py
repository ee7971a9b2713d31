"""Shows which model is in use, and notes if it fails."""

from typing import Any

import structlog

from common.text import in_label
from worker.admission.admit import Demands
from worker.admission.compatibility import alarm_policy
from worker.config.alarm_section import rules_of
from worker.config.pipeline import Pipeline
from worker.model.backends.mlmodel import read_mlmodel
from worker.model.backends.plain_model import PlainModel
from worker.model.contract import Model, ModelFailedError
from worker.model.model_files import MLMODEL, TUNED_MODEL, ModelFiles
from worker.model.monotone import proven_signs
from worker.model.package import ModelPackage
from worker.observe.metrics import show as show_labels
from worker.observe.worker_status import Status
from worker.observe.zero_series import begin_alarms_at_zero

_LOG = structlog.get_logger(__name__)


def give_up(failed: ModelFailedError, demands: Demands, status: Status) -> None:
    """Note that a model failed, so that another one scores the batch again; nothing of it was committed."""
    model, reason = failed.model, str(failed)
    _LOG.error("model failed; falling back to the last good version", version=model.version, reason=reason)
    if demands.failures is not None:
        demands.failures.note(model, reason)
    status.phase, status.partitions, status.model = "starting", {}, None
    status.model_failure = reason
    status.metrics.model_failed.inc()


def show_swapped(status: Status, pipeline: Pipeline, uri: str, model: Model) -> None:
    """Show the model after a swap, which ends the report of an earlier failure."""
    status.model_failure = None
    show(status, pipeline, uri, model)


def show(status: Status, pipeline: Pipeline, uri: str, model: Model) -> None:
    """Show a model as the one in use."""
    policy = alarm_policy(model, pipeline)
    status.model = described(model) | {"uri": uri, "alarm_policy": policy and policy.model_dump()}
    show_labels(status.metrics.model_info, {(in_label(model.name), in_label(model.version)): 1})
    begin_alarms_at_zero(status.metrics, policy, rules_of(pipeline.alarm))
    status.schemas = {
        role: {"topic": pipeline.topics[role], "schema": record.schema} for role, record in pipeline.records.items()
    }
    _LOG.info("model loaded", name=model.name, version=model.version, uri=uri)


def described(model: Model) -> dict[str, Any]:
    """A model for people and programs, as JSON."""
    shown: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "task": model.task,
        "inputs": [each._asdict() for each in model.inputs],
        "metrics": model.metrics,
    }
    if model.classes:
        shown["classes"] = model.classes
    if isinstance(model, ModelPackage):
        if signs := proven_signs(model.spec, model.scaler):
            shown["monotone"] = signs
        return shown | {
            "flavor": "hazardstream",
            "features": model.spec.model_dump() | {"names": model.spec.names},
            "manifest": model.manifest.model_dump(),
        }
    if isinstance(model, PlainModel):
        shown |= {"flavor": model.flavor, "rows_per_call": model.proven.rows_per_call}
    return shown | {"threshold": model.threshold, "error_band": model.error_band}


def described_files(files: ModelFiles) -> dict[str, Any]:
    """A plain model that is not loaded, as JSON: what its files say of it.

    Raises:
        PackageError: its MLmodel file cannot be read.
    """
    model = read_mlmodel(files if MLMODEL in files.files else files.below(TUNED_MODEL))
    facts = model.facts.model_dump(mode="json", exclude_none=True)
    return {
        "name": files.name,
        "version": f"sha256:{files.digest[:12]}",
        "digest": files.digest,
        "flavors": list(model.flavors),
        "inputs": [each._asdict() for each in model.inputs or ()],
    } | facts
