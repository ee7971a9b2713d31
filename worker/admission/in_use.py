"""Shows in the status which model is in use, and notes if it fails."""

import structlog

from common.text import in_label
from worker.admission.admit import Demands
from worker.admission.compatibility import alarm_policy
from worker.config.pipeline import Pipeline
from worker.model.contract import ModelFailedError
from worker.model.package import ModelPackage
from worker.observe.worker_status import Status

_LOG = structlog.get_logger(__name__)


def give_up(failed: ModelFailedError, demands: Demands, status: Status) -> None:
    """Note that a model failed, so that another one scores the batch again; nothing of it was committed."""
    package, reason = failed.model, str(failed)
    _LOG.error("model failed; falling back to the last good version", version=package.version, reason=reason)
    if demands.failures is not None:
        demands.failures.note(package, reason)
    status.phase, status.partitions, status.model = "starting", {}, None
    status.model_failure = reason
    status.metrics.model_failed.inc()


def show_swapped(status: Status, pipeline: Pipeline, uri: str, package: ModelPackage) -> None:
    """Show the model after a swap, which ends the report of an earlier failure."""
    status.model_failure = None
    show(status, pipeline, uri, package)


def show(status: Status, pipeline: Pipeline, uri: str, package: ModelPackage) -> None:
    """Show a model as the one in use."""
    policy = alarm_policy(package, pipeline)
    status.model = {
        "name": package.name,
        "version": package.version,
        "uri": uri,
        "features": package.spec.model_dump() | {"names": package.spec.names},
        "alarm_policy": policy and policy.model_dump(),
        "metrics": package.metrics,
        "manifest": package.manifest.model_dump(),
    }
    status.metrics.model_info.clear()
    status.metrics.model_info.labels(in_label(package.name), in_label(package.version)).set(1)
    status.schemas = {
        role: {"topic": pipeline.topics[role], "schema": record.schema} for role, record in pipeline.records.items()
    }
    _LOG.info("model loaded", name=package.name, version=package.version, uri=uri)
