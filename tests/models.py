"""Model packages for tests: the one that comes along, tiny datasets to train others; and ways to change a copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost
from sklearn.preprocessing import StandardScaler

from local.mlflow_server import mlflow_server
from pipelines.battery_hazard.training.fitting.models import Boosting
from pipelines.battery_hazard.training.fitting.presets import Counts, Preset
from pipelines.battery_hazard.training.fitting.train import prepare, silent
from tests.flagship import MODEL_30
from tests.kept import kept_directory
from tests.shared_server import shared_server
from worker.config.settings import ARTIFACT_PATH
from worker.model.mlflow_client import DIGEST_TAG, mlflow_client
from worker.model.package import ModelPackage, load_package
from worker.model.package_files import MANIFEST, PICKLED_SCALER, SCALER, digest, write_manifest
from worker.model.scaler import Scaler, read_scaler
from worker.windows.feature_spec import FeatureSpec

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


@pytest.fixture(scope="session")
def tiniest_data() -> Path:
    """Datasets of `TINIEST` and seed 0. They are shared: only read them."""
    return kept_directory("tiniest-data", lambda directory: prepare(directory, TINIEST, 0, silent))


@pytest.fixture(scope="session")
def model_package() -> Path:
    """Directory of a complete model package. It is part of the project: copy it before changing anything."""
    return MODEL_30


@pytest.fixture(scope="session")
def package(model_package: Path) -> ModelPackage:
    """The complete model package, loaded as version 1. It is shared: only read it."""
    return load_package(model_package, version="1")


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


def with_pickled_scaler(package: Path, scaler: Any) -> Path:
    """Make a package one of the older format, with this as its scaler, and seal it anew."""
    (package / SCALER).unlink(missing_ok=True)
    joblib.dump(scaler, package / PICKLED_SCALER)
    return resealed(package)


def fitted_scaler(package: Path) -> StandardScaler:
    """The package's scaler as scikit-learn's own."""
    numbers = Scaler.model_validate_json((package / SCALER).read_text())
    assert numbers.subtract is not None
    assert numbers.divide is not None
    scaler = StandardScaler().fit(np.zeros((2, len(numbers.divide))))
    scaler.mean_, scaler.scale_ = np.array(numbers.subtract), np.array(numbers.divide)
    return scaler


def with_booster(package: Path, parameters: dict[str, Any], **data: Any) -> Path:
    """Give a package another booster, trained on its golden rows, whose scores it gives truly; and seal it anew.

    Args:
        package: what to change.
        parameters: of XGBoost's training.
        data: of its training data; labels of two classes where none are given.
    """
    with np.load(package / "golden.npz") as golden:
        rows, known = golden["features"], golden["probability"]
    scaler = package / SCALER
    scaled = read_scaler(scaler.read_bytes(), rows.shape[1])(rows) if scaler.exists() else rows
    matrix = xgboost.DMatrix(scaled, **({"label": (known > 0.5).astype(int)} | data))
    booster = xgboost.train({"nthread": 1, "max_depth": 3} | parameters, matrix, 5)
    booster.save_model(package / "booster.ubj")
    given = np.asarray(booster.predict(matrix), np.float64)
    np.savez(package / "golden.npz", features=rows, probability=given)
    return resealed(package)


def without_scaler(package: Path, copy: Path) -> Path:
    """A copy of a package whose booster takes the features as they are."""
    shutil.copytree(package, copy)
    (copy / SCALER).unlink()
    return with_booster(copy, {"objective": "binary:logistic"})


def changed(package: Path, copy: Path, *, shift: float = 0.0, **features: Any) -> Path:
    """A copy of a package that scores otherwise, and is sound.

    Args:
        package: what to copy.
        copy: where to.
        shift: of each feature, in its standard deviations.
        features: other values in its FeatureSpec, for as many features as it has.
    """
    shutil.copytree(package, copy)
    numbers = Scaler.model_validate_json((copy / SCALER).read_text())
    assert numbers.subtract is not None
    assert numbers.divide is not None
    mean = tuple(m + shift * s for m, s in zip(numbers.subtract, numbers.divide, strict=True))
    (copy / SCALER).write_text(numbers.model_copy(update={"subtract": mean}).model_dump_json())
    spec = json.loads((copy / "features.json").read_text())
    (copy / "features.json").write_text(json.dumps(spec | features))
    names = FeatureSpec.model_validate(spec | features).names
    reference = json.loads((copy / "reference.json").read_text())
    reference["features"] = dict(zip(names, reference["features"].values(), strict=True))
    (copy / "reference.json").write_text(json.dumps(reference))
    with np.load(copy / "golden.npz") as golden:
        rows = golden["features"]
    scale = read_scaler((copy / SCALER).read_bytes(), len(names))
    booster = xgboost.Booster(model_file=str(copy / "booster.ubj"))
    probability = booster.inplace_predict(scale(rows), missing=np.nan)
    np.savez(copy / "golden.npz", features=rows, probability=probability)
    return resealed(copy)


def register_unseen(package: Path, name: str, tracking_uri: str, *, tagged: bool = True) -> str:
    """Register what lies in a directory without a look at it, as other hands may do; returns its version."""
    with mlflow_client(tracking_uri) as client:
        experiment = client.get_experiment_by_name(name)
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(name)).info.run_id
        client.log_artifacts(run, str(package), ARTIFACT_PATH)
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        tags = {DIGEST_TAG: digest(package / MANIFEST)} if (package / MANIFEST).exists() and tagged else {}
        for tag, value in tags.items():
            client.set_tag(run, tag, value)
        return str(client.create_model_version(name, f"runs:/{run}/{ARTIFACT_PATH}", run_id=run, tags=tags).version)
