"""Bring the candidate that waits into the registry, once it answers and there is a place for it."""

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
    judge_again,
    read_report,
    write_report,
)
from training.registry.register import register_package, version_behind
from worker.model.mlflow_client import DIGEST_TAG, mlflow_client, tracking_uri_or_default
from worker.model.package import MANIFEST, digest

_LOG = structlog.get_logger(__name__)


def synchronise(workshop: Workshop, alias: str, patience_s: float, progress: Progress) -> Report | None:
    """Register the newest candidate that is pending, if the alias is free; the alias moves last.

    The alias is free where it stands for nothing, or for the champion itself. Another version there is on trial: what
    the shadow knows of it is worth weeks, and is not thrown away for a candidate that merely is not worse. Of several
    that wait the newest counts, the others are superseded. Where the champion is no longer the one that the candidate
    was compared with, it is compared again first. Reports that cannot be read are logged and left aside.

    Args:
        workshop: whose.
        alias: that comes to stand for it.
        patience_s: how long an MLflow that does not answer is asked again, at growing intervals.
        progress: told of each site, if it is compared again.

    Returns:
        The report of the newest, if that says something else than before.

    Raises:
        DependencyDownError: MLflow did not answer; what is pending stays so.
        UserError: it refuses, there is no champion, or the candidate is damaged.
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
        # It takes minutes, so that who is champion, and whether the alias is free, is asked anew.
        judge_again(workshop, waiting, workshop.champion(), progress)
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
            _LOG.error("a retraining is left aside", reason=str(error))
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
    """What becomes of a candidate now; None: that takes another comparison."""
    report = read_report(directory)
    if report.status != "pending":
        return report
    uri = workshop.settings.tracking_uri
    holder, known = version_behind(report.name, alias, tracking_uri=uri), _known(workshop, directory, report.name)
    if holder is not None and holder == known:
        return report.model_copy(update={"status": "registered", "version": known, "waits_for": None})
    champion = workshop.champion()
    if champion.name != report.name:
        words = f"it was trained for {report.name}, and the champion is a {champion.name} now: retrain"
        return report.model_copy(update={"status": "rejected", "worse": [words], "waits_for": None})
    if holder is not None and holder != champion.version:
        words = f"{alias} stands for version {holder}: promote that, or delete the alias"
        return report.model_copy(update={"waits_for": words})
    if champion.version != report.champion:
        return None
    version = _registered(workshop, directory, report.name, alias, known)
    return report.model_copy(update={"status": "registered", "version": version, "waits_for": None})


def _known(workshop: Workshop, directory: Path, name: str) -> str | None:
    """The version that an attempt before left in the registry, perhaps without the alias."""
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
    """Version of a package in the registry, with the alias on it."""
    uri = workshop.settings.tracking_uri
    if known is None:
        return register_package(directory / PACKAGE, record=directory / RECORD, alias=alias, tracking_uri=uri).version
    with mlflow_client(tracking_uri_or_default(uri)) as client:
        client.set_registered_model_alias(name, alias, known)
    return known
