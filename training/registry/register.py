"""Logs a trained model package in MLflow, and registers it as a model version with an alias."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DependencyDownError, UserError
from worker.admission.dry_run import dry_run
from worker.config.settings import ARTIFACT_PATH
from worker.model.archive import read_archive
from worker.model.mlflow_client import (
    DIGEST_TAG,
    NotInMlflowError,
    mlflow_client,
    prepare_mlflow,
    store_file,
    tracking_uri_or_default,
    without_credentials,
)
from worker.model.package import open_package
from worker.model.package_files import Contents, read_package

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "hazardstream"
RECORD_PATH = "training"
COMPARISON = "comparison"


@dataclass(frozen=True)
class Registered:
    """A registered model version, with the alias that was moved to it."""

    name: str
    version: str
    alias: str | None
    run_id: str
    tracking_uri: str
    manifest_sha256: str
    metrics: dict[str, Any]


def register_package(
    package: Path, *, record: Path | None = None, alias: str | None = "champion", tracking_uri: str | None = None
) -> Registered:
    """Log a package as a run and register it under the name in its manifest.

    The alias moves last, when the version is complete and ready; until then workers keep their model. If it cannot be
    moved, the version is deleted again.

    Args:
        package: directory or exported file of a package; it is checked first.
        record: directory with files of its training to log.
        alias: alias that moves to the new version; None: none moves.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

    Raises:
        PackageError: the package must not be used.
        UserError: MLflow rejects a request.
        DependencyDownError: MLflow does not answer.
    """
    if alias is not None:
        refuse_bad_alias(alias)
    contents = read_package(package) if package.is_dir() else read_archive(package).contents
    model = open_package(contents, version="unregistered")
    dry_run(model, None)
    manifest_sha256 = contents.digest
    store = store_of(tracking_uri)
    with mlflow_client(store) as client:
        run_id = client.create_run(experiment_id(client, store), run_name=model.name).info.run_id
        try:
            _log(client, run_id, contents, model.metrics)
            if record is not None:
                client.log_artifacts(run_id, str(record), RECORD_PATH)
            version = _register(client, run_id, model.name, manifest_sha256)
            try:
                if alias is not None:
                    client.set_registered_model_alias(model.name, alias, version)
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    _withdraw(client, model.name, version)
                raise
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return Registered(model.name, version, alias, run_id, without_credentials(store), manifest_sha256, model.metrics)


def refuse_bad_alias(alias: str) -> None:
    """Check that MLflow accepts an alias of this name, before anything is trained or written for it.

    Raises:
        UserError: it does not.
    """
    prepare_mlflow()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see mlflow_client
    from mlflow.utils import validation  # noqa: PLC0415

    try:
        validation._validate_model_alias_name(alias)  # noqa: SLF001 - what its stores ask; nothing public does
        validation._validate_model_alias_name_reserved(alias)  # noqa: SLF001
    except MlflowException as error:
        raise UserError(f"MLflow takes no alias {alias!r}: {error.message} Choose another alias") from error


def version_of(name: str, manifest_sha256: str, *, tracking_uri: str | None = None) -> str | None:
    """The newest version that is this very package; None if it is not registered.

    Raises:
        UserError: MLflow refuses.
        DependencyDownError: MLflow does not answer.
    """
    with mlflow_client(store_of(tracking_uri)) as client:
        found = client.search_model_versions("name='" + name.replace("'", "\\'") + "'")
        same = [v for v in found if v.tags.get(DIGEST_TAG) == manifest_sha256 and v.status == "READY"]
        return max((str(v.version) for v in same), key=int, default=None)


def point_alias(name: str, alias: str, version: str, *, tracking_uri: str | None = None) -> None:
    """Move an alias to a version.

    Raises:
        UserError: MLflow refuses.
        DependencyDownError: MLflow does not answer.
    """
    refuse_bad_alias(alias)
    with mlflow_client(store_of(tracking_uri)) as client:
        client.set_registered_model_alias(name, alias, version)


def version_behind(name: str, alias: str, *, tracking_uri: str | None = None) -> str | None:
    """The version that an alias points to; None if there is no such alias.

    Raises:
        UserError: MLflow refuses.
        DependencyDownError: MLflow does not answer.
    """
    try:
        with mlflow_client(store_of(tracking_uri)) as client:
            return str(client.get_model_version_by_alias(name, alias).version)
    except NotInMlflowError:
        return None


def store_of(tracking_uri: str | None) -> str:
    """MLflow's address: the given one, else MLFLOW_TRACKING_URI, else the user's own local store, made if needed."""
    store = tracking_uri_or_default(tracking_uri)
    if (file := store_file(store)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    return store


def experiment_id(client: "MlflowClient", store: str) -> str:
    """Id of the experiment. Its artifacts are beside a local store, never in the current directory."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see mlflow_client

    if (known := client.get_experiment_by_name(EXPERIMENT)) is not None:
        if known.lifecycle_stage != "active":
            raise UserError(
                f"MLflow at {without_credentials(store)}: experiment {EXPERIMENT!r} was deleted; restore it there"
            )
        return str(known.experiment_id)
    file = store_file(store)
    location = (file.parent / "artifacts").as_uri() if file is not None else None
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:
        # Another process, which found none either, has created it in the meantime.
        if (now := client.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(now.experiment_id)


def _log(client: "MlflowClient", run_id: str, contents: Contents, metrics: dict[str, Any]) -> None:
    for name, value in metrics.get("training", {}).items():
        client.log_param(run_id, name, value)
    _log_metrics(client, run_id, {part: metrics.get(part, {}) for part in ("validation", "test", "thresholds")})
    with tempfile.TemporaryDirectory(prefix="hazardstream-") as directory:
        contents.write(Path(directory))  # the bytes that were checked, even if their files have changed since
        client.log_artifacts(run_id, directory, ARTIFACT_PATH)
    client.set_tag(run_id, DIGEST_TAG, contents.digest)


def _log_metrics(client: "MlflowClient", run_id: str, metrics: dict[str, Any]) -> None:
    """Log all numbers of nested metrics under dotted names."""
    from mlflow.entities import Metric  # noqa: PLC0415 - see mlflow_client

    now_ms = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(name, value, now_ms, 0) for name, value in _numbers(metrics)])


def _numbers(metrics: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)


def _register(client: "MlflowClient", run_id: str, name: str, manifest_sha256: str) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see mlflow_client

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, f"runs:/{run_id}/{ARTIFACT_PATH}", run_id=run_id, tags={DIGEST_TAG: manifest_sha256}
    )
    if version.status != "READY":
        raise DependencyDownError("mlflow", f"version {version.version} of {name} is {version.status}, not READY")
    return str(version.version)


def _withdraw(client: "MlflowClient", name: str, version: str) -> None:
    """Delete a version without an alias. One with an alias is in use: MLflow moved it, and only the answer was lost."""
    if not client.get_model_version(name, version).aliases:
        client.delete_model_version(name, version)


def log_comparison(compared: dict[str, dict[str, Any]], *, tracking_uri: str | None = None) -> str:
    """Log a comparison of models as one run with a child run per model. Returns the id of the run."""
    store = store_of(tracking_uri)
    with mlflow_client(store) as client:
        experiment = experiment_id(client, store)
        run_id = str(client.create_run(experiment, run_name=COMPARISON).info.run_id)
        for name, metrics in compared.items():
            tags = {"mlflow.parentRunId": run_id}
            child = client.create_run(experiment, run_name=name, tags=tags).info.run_id
            _log_metrics(client, child, metrics)
            client.set_terminated(child, "FINISHED")
        client.log_dict(run_id, compared, "comparison.json")
        client.set_terminated(run_id, "FINISHED")
    return run_id
