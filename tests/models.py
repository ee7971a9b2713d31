"""Model packages for tests: the small preset, trained once for the whole run; and ways to change a copy."""

import json
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from shared_server import shared_server

from local.mlflow_server import mlflow_server
from training.train import SMALL, Preset, train
from worker.package import MANIFEST, write_manifest

TINIEST = Preset(
    training=1,
    validation=1,
    test=1,
    modules=16,
    faults=4,
    healthy=4,
    hours=1,
    normal_every=1,
    rounds=5,
    max_depth=3,
    learning_rate=0.3,
)
"""Where it does not matter what the model finds."""


@pytest.fixture(scope="session")
def model_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a complete model package. It is shared: copy it before changing anything."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory = base / "model-package"
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
