"""Registers a waiting candidate once MLflow answers and the alias is free."""

from pathlib import Path

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from common.errors import DependencyDownError, UserError
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.retraining.attempt import (
    PACKAGE,
    RECORD,
    Report,
    Workshop,
    compare_again,
    read_report,
    write_report,
)
from training.registry.register import register_package, version_behind
from worker.model.mlflow_client import DIGEST_TAG, mlflow_client, tracking_uri_or_default
from worker.model.package import MANIFEST, digest

_LOG = structlog.get_logger(__name__)


def synchronise(workshop: Workshop, alias: str, patience_s: float, progress: Progress) -> Report | None:
    """Register the newest candidate that is pending, if the alias is free; the alias moves last.

    The alias is free if it does not exist or points to the champion. Any other version there is under evaluation: weeks
    of shadow records are not discarded for a candidate that is merely not worse. If several candidates wait, the newest
    counts and the others are superseded. If the champion has changed since the comparison, the candidate is compared
    again first. Reports that cannot be read are logged and ignored.

    Args:
        workshop: options of the retrainings.
        alias: alias that moves to the candidate.
        patience_s: how long to retry while MLflow does not answer, at growing intervals.
        progress: called for each site of another comparison.

    Returns:
        The report of the newest candidate, if it has changed.

    Raises:
        DependencyDownError: MLflow did not answer; the candidate stays pending.
        UserError: MLflow rejects a request, there is no champion, or the candidate is damaged.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(DependencyDownError),
        wait=wait_exponential(multiplier=0.5, max=30.0),
        stop=stop_after_delay(patience_s),
        reraise=True,
    )
    waiting = _waiting(workshop)
    if waiting is None:
        return None
    before = read_report(waiting)
    while (found := retrying(_placed, workshop, waiting, alias)) is None:
        # This takes minutes, so champion and alias are checked again afterwards.
        compare_again(workshop, waiting, workshop.champion(), progress)
    if found == before:
        return None
    write_report(waiting, found)
    _LOG.info("candidate", alias=alias, **found.model_dump(include={"name", "status", "version", "waits_for", "worse"}))
    return found


def _waiting(workshop: Workshop) -> Path | None:
    """Directory of the newest candidate that is pending."""
    newest: Path | None = None
    for directory in reversed(workshop.attempts()):
        try:
            report = read_report(directory)
        except UserError as error:
            _LOG.error("unreadable retraining ignored", reason=str(error))
            continue
        if report.status != "pending":
            continue
        if newest is None:
            newest = directory
        else:
            write_report(directory, report.model_copy(update={"status": "superseded", "waits_for": None}))
            _LOG.info("candidate superseded", directory=str(directory), by=str(newest))
    return newest


def _placed(workshop: Workshop, directory: Path, alias: str) -> Report | None:
    """The report after an attempt to register; None: another comparison is needed first."""
    report = read_report(directory)
    if report.status != "pending":
        return report
    uri = workshop.settings.tracking_uri
    holder, known = version_behind(report.name, alias, tracking_uri=uri), _known(workshop, directory, report.name)
    if holder is not None and holder == known:
        return report.model_copy(update={"status": "registered", "version": known, "waits_for": None})
    champion = workshop.champion()
    if champion.name != report.name:
        reason = f"it was trained for {report.name}, but the champion is a {champion.name} now; retrain"
        return report.model_copy(update={"status": "rejected", "worse": [reason], "waits_for": None})
    if holder is not None and holder != champion.version:
        reason = f"{alias} points to version {holder}; promote that version, or delete the alias"
        return report.model_copy(update={"waits_for": reason})
    if champion.version != report.champion:
        return None
    version = _registered(workshop, directory, report.name, alias, known)
    return report.model_copy(update={"status": "registered", "version": version, "waits_for": None})


def _known(workshop: Workshop, directory: Path, name: str) -> str | None:
    """The version that an earlier attempt left in the registry, perhaps without the alias."""
    try:
        sealed = digest(directory / PACKAGE / MANIFEST)
    except OSError as error:
        raise UserError(f"the candidate in {directory} is damaged ({error}): remove the directory") from error
    with mlflow_client(tracking_uri_or_default(workshop.settings.tracking_uri)) as client:
        for version in client.search_model_versions(f"name='{name}'"):
            if version.tags.get(DIGEST_TAG) == sealed and version.status == "READY":
                return str(version.version)
    return None


def _registered(workshop: Workshop, directory: Path, name: str, alias: str, known: str | None) -> str:
    """Register the package if needed, move the alias, and return the version."""
    uri = workshop.settings.tracking_uri
    if known is None:
        return register_package(directory / PACKAGE, record=directory / RECORD, alias=alias, tracking_uri=uri).version
    with mlflow_client(tracking_uri_or_default(uri)) as client:
        client.set_registered_model_alias(name, alias, known)
    return known
