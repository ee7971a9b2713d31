"""Model packages for tests: the small preset, trained once for the whole run; and ways to change a copy."""

import json
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from shared_server import shared_server

from local.mlflow_server import mlflow_server
from training.models import Boosting
from training.presets import SMALL, Counts, Preset
from training.train import prepare, silent, train
from worker.package import MANIFEST, write_manifest

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
def model_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a complete model package. It is shared: copy it before changing anything."""
    directory = _shared(tmp_path_factory, "model-package")
    with FileLock(f"{directory}.lock"):
        return directory if directory.exists() else train(directory, preset=SMALL)


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
