"""Bring candidates that wait into the registry, once it answers."""

from pathlib import Path

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from training.register import register_package
from training.retraining.attempt import PACKAGE, RECORD, Report, Workshop, read_report, write_report
from worker.errors import DependencyDownError, UserError
from worker.package import MANIFEST, digest
from worker.tracking import DIGEST_TAG, mlflow_client, tracking_uri_or_default

_LOG = structlog.get_logger(__name__)


def synchronise(workshop: Workshop, alias: str, patience_s: float) -> list[Report]:
    """Register what is pending, oldest first, each with the alias moved last; returns what was registered.

    What cannot be read is logged and left aside.

    Args:
        workshop: whose.
        alias: that comes to stand for the newest.
        patience_s: how long an MLflow that does not answer is asked again, at growing intervals.

    Raises:
        DependencyDownError: it did not answer; what is pending stays so.
        UserError: it refuses.
    """
    done = []
    retrying = Retrying(
        retry=retry_if_exception_type(DependencyDownError),
        wait=wait_exponential(multiplier=0.5, max=30.0),
        stop=stop_after_delay(patience_s),
        reraise=True,
    )
    for directory in workshop.attempts():
        try:
            report = read_report(directory)
        except UserError as error:
            _LOG.error("a retraining is left aside", reason=str(error))
            continue
        if report.status != "pending":
            continue
        version = retrying(_registered, workshop, directory, report.name, alias)
        report = report.model_copy(update={"status": "registered", "version": version})
        write_report(directory, report)
        _LOG.info("candidate registered", name=report.name, version=version, alias=alias)
        done.append(report)
    return done


def _registered(workshop: Workshop, directory: Path, name: str, alias: str) -> str:
    """Version of a package in the registry, with the alias on it; one that an attempt before left there is used."""
    store, sealed = tracking_uri_or_default(workshop.settings.tracking_uri), digest(directory / PACKAGE / MANIFEST)
    with mlflow_client(store) as client:
        for version in client.search_model_versions(f"name='{name}'"):
            if version.tags.get(DIGEST_TAG) == sealed and version.status == "READY":
                client.set_registered_model_alias(name, alias, version.version)
                return str(version.version)
    return register_package(
        directory / PACKAGE, record=directory / RECORD, alias=alias, tracking_uri=workshop.settings.tracking_uri
    ).version
