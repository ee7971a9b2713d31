"""What ends up in MLflow: a run, a complete model version, and an alias that moves last."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import training.registry.register
from common.errors import DependencyDownError, UserError
from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SPLITS
from pipelines.battery_hazard.training.registration import train_and_register
from tests.models import TINIEST, renamed, resealed
from training.registry.register import EXPERIMENT, experiment_id, register_package
from worker.model.mlflow_client import DIGEST_TAG, local_store, mlflow_client
from worker.model.package import PackageError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@pytest.fixture
def package(model_package: Path, tmp_path: Path, unique_name: str) -> Path:
    return renamed(model_package, tmp_path / "package", unique_name)


def test_a_version_is_complete_and_the_alias_points_to_it(package: Path, mlflow_url: str) -> None:
    done = register_package(package, alias="champion", tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        version = client.get_model_version_by_alias(done.name, "champion")
        run = client.get_run(version.run_id)
        files = {file.path for file in client.list_artifacts(run.info.run_id, "model")}
    assert version.tags == {DIGEST_TAG: done.manifest_sha256}
    assert files == {f"model/{file.name}" for file in package.iterdir()}
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test.modules.events"] >= DEFAULT.faults
    assert run.data.params["seed"] == "0"


def test_two_processes_may_create_the_experiment_at_once(mlflow_url: str, package: Path) -> None:
    register_package(package, tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        known = client.get_experiment_by_name
        # The other process creates it between the question and the attempt.
        answers = iter((None, known(EXPERIMENT)))
        client.get_experiment_by_name = lambda _name: next(answers)
        found = experiment_id(client, mlflow_url)
    assert found == known(EXPERIMENT).experiment_id


def test_mlflow_shows_it_as_a_model_with_a_signature(package: Path, mlflow_url: str) -> None:
    from mlflow.models import Model  # noqa: PLC0415 - takes seconds

    register_package(package, tracking_uri=mlflow_url)
    signature = Model.load(str(package / "MLmodel")).signature
    assert signature.inputs.input_names()[0] == "avg_surface_temp_c"
    assert len(signature.inputs.input_names()) == 30
    assert not any(column.required for column in signature.inputs.inputs)


@pytest.mark.slow  # trains a model
def test_a_local_store_keeps_everything_in_its_own_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique_name: str, tiniest_data: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    stages = []
    done = train_and_register(
        preset=TINIEST,
        data=tiniest_data,
        name=unique_name,
        tracking_uri=local_store(tmp_path / "store"),
        progress=lambda stage, _done, _total: stages.append(stage),
    )
    assert (done.name, done.version, done.alias) == (unique_name, "1", "champion")
    assert list(here.iterdir()) == []
    assert {p.name for p in (tmp_path / "store").iterdir()} == {"mlflow.db", "artifacts"}
    simulated = [f"simulating: {split}" for split in SPLITS]
    assert list(dict.fromkeys(stages)) == [*simulated, "boosting trees", "choosing the alarm policy", "registering"]
    with mlflow_client(done.tracking_uri) as client:
        figures = {file.path for file in client.list_artifacts(done.run_id, "training")}
    assert "training/shap-summary.png" in figures


def test_when_registering_fails_half_way_the_alias_stays(
    package: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = register_package(package, tracking_uri=mlflow_url)
    monkeypatch.setattr(training.registry.register, "_log", _dies)
    with pytest.raises(DependencyDownError):
        register_package(resealed(package, created_at="later"), tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        assert client.get_model_version_by_alias(first.name, "champion").version == "1"
        runs = runs_of(client, first.name)
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("alias", ["a b/c", "", "latest", "v2", "x" * 256])
def test_an_alias_that_mlflow_does_not_take_is_refused_before_anything_is_written(
    package: Path, mlflow_url: str, unique_name: str, alias: str
) -> None:
    with pytest.raises(UserError, match="MLflow takes no alias"):
        register_package(package, alias=alias, tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        assert client.search_registered_models(f"name='{unique_name}'") == []
        assert runs_of(client, unique_name) == []


def test_an_alias_is_looked_at_before_the_training(unique_name: str, tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(UserError, match="Names may only contain alphanumerics"):
        train_and_register(
            preset=TINIEST,
            name=unique_name,
            alias="a b/c",
            tracking_uri=local_store(tmp_path / "store"),
            progress=lambda stage, _done, _total: stages.append(stage),
        )
    assert stages == []


def test_a_version_whose_alias_cannot_be_moved_does_not_stay(
    package: Path, mlflow_url: str, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_package(package, tracking_uri=mlflow_url)
    monkeypatch.setattr("mlflow.MlflowClient.set_registered_model_alias", _dies)
    with pytest.raises(DependencyDownError):
        register_package(resealed(package, created_at="later"), tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        assert [v.version for v in client.search_model_versions(f"name='{unique_name}'")] == ["1"]
        assert client.get_model_version_by_alias(unique_name, "champion").version == "1"
        assert sorted(run.info.status for run in runs_of(client, unique_name)) == ["FAILED", "FINISHED"]


def test_a_version_whose_alias_moved_stays_though_the_answer_was_lost(
    package: Path, mlflow_url: str, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    moves = MlflowClient.set_registered_model_alias

    def lost(*given: str) -> None:
        moves(*given)
        raise OSError("connection reset")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", lost)
    with pytest.raises(DependencyDownError):
        register_package(package, tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        assert client.get_model_version_by_alias(unique_name, "champion").version == "1"


def runs_of(client: "MlflowClient", name: str) -> list["Run"]:
    """Runs of the models of this name."""
    experiment = client.get_experiment_by_name("hazardstream")
    return list(client.search_runs([experiment.experiment_id], f"run_name = '{name}'")) if experiment else []


def _dies(*_: object) -> None:
    raise OSError("connection reset")


def test_a_package_that_is_not_sound_is_not_registered(package: Path, mlflow_url: str, unique_name: str) -> None:
    (package / "booster.ubj").write_bytes(b"")
    with pytest.raises(PackageError, match=r"booster\.ubj was altered"):
        register_package(package, tracking_uri=mlflow_url)
    with mlflow_client(mlflow_url) as client:
        assert unique_name not in {model.name for model in client.search_registered_models()}
