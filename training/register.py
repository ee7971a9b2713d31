"""Record a training in MLflow, and register its package as a model version behind an alias."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.train import DEFAULT, SMALL, Progress, train
from worker.errors import DependencyDownError, UserError
from worker.package import MANIFEST, digest, load_package
from worker.tracking import DIGEST_TAG, mlflow_client, shown, store_file, tracking_uri_or_default

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "hazardstream"
ARTIFACT_PATH = "model"


@dataclass(frozen=True)
class Registered:
    """A model version that an alias now points to."""

    name: str
    version: str
    alias: str
    run_id: str
    tracking_uri: str
    manifest_sha256: str
    metrics: dict[str, Any]


def train_and_register(
    *,
    small: bool,
    seed: int = 0,
    name: str = "battery_hazard",
    alias: str = "champion",
    tracking_uri: str | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Registered:
    """Train a model and register it; see `train` and `register_package`."""
    with tempfile.TemporaryDirectory(prefix="hazardstream-") as directory:
        preset = SMALL if small else DEFAULT
        package = train(Path(directory) / "package", preset=preset, seed=seed, name=name, progress=progress)
        progress("registering", 0, 1)
        registered = register_package(package, alias=alias, tracking_uri=tracking_uri)
        progress("registering", 1, 1)
    return registered


def register_package(package: Path, *, alias: str = "champion", tracking_uri: str | None = None) -> Registered:
    """Log a package as a run and register it under the name in its manifest.

    The alias moves last, when the version is complete and ready: until then workers keep what they have.

    Args:
        package: directory of a complete package; it is verified first.
        alias: alias to point to the new version.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

    Raises:
        PackageError: the package must not be used.
        UserError: MLflow refuses.
        DependencyDownError: MLflow does not answer.
    """
    model = load_package(package, version="unregistered")
    manifest_sha256 = digest(package / MANIFEST)
    store = tracking_uri_or_default(tracking_uri)
    if (file := store_file(store)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with mlflow_client(store) as client:
        run_id = client.create_run(_experiment(client, store), run_name=model.name).info.run_id
        try:
            _log(client, run_id, package, model.metrics)
            version = _register(client, run_id, model.name, manifest_sha256)
            client.set_registered_model_alias(model.name, alias, version)
        except BaseException:
            with suppress(Exception):  # the first failure is the one to tell
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return Registered(model.name, version, alias, run_id, shown(store), manifest_sha256, model.metrics)


def _experiment(client: "MlflowClient", store: str) -> str:
    """Id of the experiment; its artifacts lie beside a local store, never in the current directory."""
    if (known := client.get_experiment_by_name(EXPERIMENT)) is not None:
        if known.lifecycle_stage != "active":
            raise UserError(f"MLflow at {shown(store)}: experiment {EXPERIMENT!r} was deleted; restore it there")
        return str(known.experiment_id)
    file = store_file(store)
    location = (file.parent / "artifacts").as_uri() if file is not None else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


def _log(client: "MlflowClient", run_id: str, package: Path, metrics: dict[str, Any]) -> None:
    for name, value in metrics["training"].items():
        client.log_param(run_id, name, value)
    for fleets in ("validation", "test"):
        for name, value in metrics[fleets].items():
            client.log_metric(run_id, f"{fleets}.{name}", value)
    client.log_artifacts(run_id, str(package), ARTIFACT_PATH)


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
