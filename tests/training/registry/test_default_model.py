"""The model that is used where none is named."""

import shutil
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline

from common.errors import UserError
from tests.flagship import write_folder
from tests.models import fitted_scaler, with_pickled_scaler
from training.registry.default_model import model_or_default
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings
from worker.model.mlflow_client import local_store
from worker.model.package import MANIFEST, digest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """No model is registered in this MLflow."""
    return Settings(given_cache_directory=tmp_path / "cache", tracking_uri=local_store(tmp_path / "mlflow"))


@pytest.fixture
def pipeline(model_package: Path, tmp_path: Path) -> Pipeline:
    """The model in its folder has a pickled scaler, which is code."""
    file = write_folder(tmp_path / "pipeline")
    package = shutil.copytree(model_package, file.parent / "model")
    with_pickled_scaler(package, make_pipeline(fitted_scaler(package)))
    return load_pipeline(str(file))


@pytest.mark.slow  # loads the model in a sandbox
def test_the_model_in_the_folder_needs_the_trust_of_the_settings(settings: Settings, pipeline: Pipeline) -> None:
    said: list[str] = []
    with pytest.raises(UserError, match="HAZARDSTREAM_MODEL_TRUST"):
        model_or_default(settings, pipeline, said.append)
    trust = f"sha256:{digest(pipeline.shipped_model / MANIFEST)}"
    package, which = model_or_default(settings.model_copy(update={"model_trust": trust}), pipeline, said.append)
    assert package.version in which
    assert f"there is no {pipeline.model}" in which
    assert "using the model in the pipeline's folder instead" in said[-1]


def test_bundled_is_the_model_in_the_folder_of_the_settings_pipeline(
    settings: Settings, model_package: Path, tmp_path: Path
) -> None:
    file = write_folder(tmp_path / "pipeline")
    shutil.copytree(model_package, file.parent / "model")
    bundled = settings.model_copy(update={"model": "bundled", "pipeline": str(file)})
    package, which = model_or_default(bundled, load_pipeline(str(file)), print)
    assert which == f"{package.name} {package.version} (bundled)"
