"""The model whose training reference `hazardstream drift` uses."""

from pathlib import Path

import pytest

from common.errors import UserError
from training.monitoring.cli import _reference
from training.registry.register import register_package
from worker.config.settings import Settings
from worker.model.mlflow_client import local_store
from worker.model.package import ModelPackage

OF_THE_PIPELINE = "models:/nothing@champion"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(given_cache_directory=tmp_path / "cache", tracking_uri=local_store(tmp_path / "mlflow"))


@pytest.mark.slow  # imports all of MLflow
def test_a_run_that_is_set_goes_before_the_model_of_the_pipeline(settings: Settings, package: ModelPackage) -> None:
    run = register_package(package.origin, tracking_uri=settings.tracking_uri).run_id
    found = _reference(settings.model_copy(update={"best_run_id": run}), OF_THE_PIPELINE)
    assert found is not None
    assert package.reference is not None
    assert found.digest == package.reference.digest


@pytest.mark.parametrize("named", [{"model": "models:/no_such_model@champion"}, {"best_run_id": "0" * 32}])
def test_a_model_that_is_set_and_cannot_be_loaded_is_an_error(settings: Settings, named: dict[str, str]) -> None:
    with pytest.raises(UserError):
        _reference(settings.model_copy(update=named), OF_THE_PIPELINE)


def test_without_a_model_sites_are_compared_with_their_baseline_only(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _reference(settings, OF_THE_PIPELINE) is None
    assert "compared with their baseline only" in capsys.readouterr().err
