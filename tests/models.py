"""Model packages for tests: the one that comes along, tiny datasets to train others; and ways to change a copy."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost
from filelock import FileLock
from shared_server import shared_server

from local.mlflow_server import mlflow_server
from training.default_model import SHIPPED
from training.models import Boosting
from training.presets import Counts, Preset
from training.train import prepare, silent
from worker.features import FeatureSpec
from worker.package import MANIFEST, digest, write_manifest
from worker.tracking import ARTIFACT_PATH, DIGEST_TAG, mlflow_client

TINIEST = Preset(
    training=Counts(events=1, normal=1, bench_events=0, bench_normal=0),
    validation=Counts(events=1, normal=1, bench_events=0, bench_normal=0),
    test=Counts(events=1, normal=1, bench_events=0, bench_normal=0),
    faults=2,
    healthy=3,
    hours=1,
    normal_modules=4,
    normal_hours=1,
    thin=1,
    boosting=Boosting(rounds=5, max_depth=3, learning_rate=0.3),
)
"""Where it does not matter what the model finds."""


def _shared(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


@pytest.fixture(scope="session")
def tiniest_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets of `TINIEST` and seed 0. They are shared: only read them."""
    directory = _shared(tmp_path_factory, "tiniest-data")
    with FileLock(f"{directory}.lock"):
        prepare(directory, TINIEST, 0, silent)
    return directory


@pytest.fixture(scope="session")
def model_package() -> Path:
    """Directory of a complete model package. It is part of the project: copy it before changing anything."""
    return SHIPPED


@pytest.fixture(scope="session")
def mlflow_url(pytestconfig: pytest.Config) -> str:
    """Address of the run's MLflow server. It is shared: register under names of your own, see `renamed`."""
    return shared_server(pytestconfig, "mlflow", mlflow_server)


def renamed(package: Path, copy: Path, name: str) -> Path:
    """A copy of a package, sealed anew under another name."""
    shutil.copytree(package, copy)
    return resealed(copy, name=name)


def resealed(package: Path, **changes: str) -> Path:
    """Seal a package whose files were changed, as its maker could: its manifest tells the truth about them."""
    manifest = json.loads((package / MANIFEST).read_text()) | changes
    sealing = {k: manifest[k] for k in ("name", "created_at", "schema_fingerprint", "libraries")}
    write_manifest(package, **sealing)
    return package


def changed(package: Path, copy: Path, *, shift: float = 0.0, **features: Any) -> Path:
    """A copy of a package that scores otherwise, and is sound.

    Args:
        package: what to copy.
        copy: where to.
        shift: of each feature, in its standard deviations.
        features: other values in its FeatureSpec, for as many features as it has.
    """
    shutil.copytree(package, copy)
    scaler = joblib.load(copy / "scaler.joblib")
    scaler.mean_ += shift * scaler.scale_
    joblib.dump(scaler, copy / "scaler.joblib")
    spec = json.loads((copy / "features.json").read_text())
    (copy / "features.json").write_text(json.dumps(spec | features))
    names = FeatureSpec.model_validate(spec | features).names
    reference = json.loads((copy / "reference.json").read_text())
    reference["features"] = dict(zip(names, reference["features"].values(), strict=True))
    (copy / "reference.json").write_text(json.dumps(reference))
    with np.load(copy / "golden.npz") as golden:
        rows = golden["features"]
    booster = xgboost.Booster(model_file=str(copy / "booster.ubj"))
    probability = booster.inplace_predict(scaler.transform(rows), missing=np.nan)
    np.savez(copy / "golden.npz", features=rows, probability=probability)
    return resealed(copy)


def register_unseen(package: Path, name: str, tracking_uri: str) -> str:
    """Register what lies in a directory without a look at it, as other hands may do; returns its version."""
    with mlflow_client(tracking_uri) as client:
        experiment = client.get_experiment_by_name(name)
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(name)).info.run_id
        client.log_artifacts(run, str(package), ARTIFACT_PATH)
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        tags = {DIGEST_TAG: digest(package / MANIFEST)} if (package / MANIFEST).exists() else {}
        return str(client.create_model_version(name, f"runs:/{run}/{ARTIFACT_PATH}", run_id=run, tags=tags).version)
