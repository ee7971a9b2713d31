"""Wherever MLflow keeps models: a server, a store in files, S3; by alias, by a stage of older registries, by run."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3  # type: ignore[import-untyped]  # its stubs are another package
import mlflow.xgboost
import pytest
import xgboost
from moto.server import ThreadedMotoServer

from common.errors import DependencyDownError, UserError
from local.process import free_ports
from tests.model_registry import Registry
from tests.models import register_unseen, renamed
from tests.plain_models import NUMBERS, pump_rows, saved, wear
from training.registry.register import register_package
from worker.admission.source import resolve
from worker.config.settings import ARTIFACT_PATH, load_settings
from worker.model.mlflow_client import mlflow_client
from worker.model.package import PackageError, load_package


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in an S3 server of this test's own, which MLflow's client finds."""
    (port,) = free_ports(1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
    for name, value in (environment | {"MLFLOW_S3_ENDPOINT_URL": address}).items():
        monkeypatch.setenv(name, value)
    bucket = f"models-{uuid4().hex}"  # the servers of one process share their buckets
    where = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    yield f"s3://{bucket}"
    server.stop()


@pytest.mark.slow  # imports all of MLflow
def test_a_store_in_files_gives_a_model_by_alias_version_and_run(
    model_package: Path, cache: Path, tmp_path: Path
) -> None:
    store = (tmp_path / "mlruns").as_uri()
    done = register_package(model_package, tracking_uri=store)
    uris = {f"models:/{done.name}@champion": "1", f"models:/{done.name}/1": "1"}
    uris[f"runs:/{done.run_id}/model"] = f"run:{done.run_id}"
    for uri, version in uris.items():
        assert resolve(uri, cache_directory=cache, tracking_uri=store).version == version


def test_artifacts_in_s3_are_fetched_from_there(
    model_package: Path, cache: Path, unique_name: str, mlflow_url: str, s3: str, tmp_path: Path
) -> None:
    with mlflow_client(mlflow_url) as client:
        client.create_experiment(unique_name, artifact_location=f"{s3}/{unique_name}")
    package = renamed(model_package, tmp_path / "package", unique_name)
    version = register_unseen(package, unique_name, mlflow_url)
    with mlflow_client(mlflow_url) as client:
        run = client.get_model_version(unique_name, version).run_id
        assert client.get_run(run).info.artifact_uri.startswith(s3)
    model = resolve(f"models:/{unique_name}/{version}", cache_directory=cache, tracking_uri=mlflow_url)
    assert model.digest == load_package(package, version="1").digest


def test_a_file_that_s3_has_lost_is_named(
    model_package: Path, cache: Path, unique_name: str, mlflow_url: str, s3: str
) -> None:
    with mlflow_client(mlflow_url) as client:
        client.create_experiment(unique_name, artifact_location=f"{s3}/{unique_name}")
    version = register_unseen(model_package, unique_name, mlflow_url)
    bucket = boto3.resource("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"]).Bucket(s3.removeprefix("s3://"))
    for item in bucket.objects.all():
        if item.key.endswith("booster.ubj"):
            item.delete()
    with pytest.raises(PackageError, match=r"booster\.ubj is missing") as caught:
        resolve(f"models:/{unique_name}/{version}", cache_directory=cache, tracking_uri=mlflow_url)
    assert caught.value.fault == "missing_file"


@pytest.mark.slow  # starts a store of its own
def test_a_model_in_s3_needs_no_mlflow_server_and_is_cached(
    cache: Path, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pump_rows()[NUMBERS]
    booster = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(rows, wear(rows)), 2)
    directory = saved(mlflow.xgboost, booster, tmp_path / "pump", rows, [1.5])
    bucket = boto3.resource("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"]).Bucket(s3.removeprefix("s3://"))
    for file in directory.iterdir():
        bucket.upload_file(str(file), f"models/pump/{file.name}")
    uri = f"{s3}/models/pump"

    model = resolve(uri, cache_directory=cache)

    assert (model.name, model.version) == ("pump", f"sha256:{model.digest[:12]}")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert resolve(uri, cache_directory=cache).version == model.version
    with pytest.raises(DependencyDownError, match="model store"):
        resolve(f"{s3}/models/another", cache_directory=cache)


@pytest.mark.parametrize("stage", ["Production", "staging"])
def test_a_stage_of_an_older_registry_is_understood(models: Registry, cache: Path, stage: str) -> None:
    uri = f"models:/{models.name}/{stage}"
    with pytest.raises(PackageError, match=r"no version .* is in stage") as caught:
        resolve(uri, cache_directory=cache, tracking_uri=models.url)
    assert caught.value.fault == "not_there"
    with mlflow_client(models.url) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage(models.name, "1", stage.capitalize())
    assert resolve(uri, cache_directory=cache, tracking_uri=models.url).version == "1"


def test_the_run_that_older_systems_name_in_the_environment_is_taken(
    models: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_client(models.url) as client:
        run = client.get_model_version(models.name, "1").run_id
    monkeypatch.setenv("BEST_MLFLOW_RUN_ID", str(run))
    uri = load_settings().model_uri("models:/the-pipelines@champion")
    assert uri == f"runs:/{run}/{ARTIFACT_PATH}"
    assert resolve(uri, cache_directory=cache, tracking_uri=models.url).version == f"run:{run}"
    assert load_settings(model="models:/mine@champion").model_uri("the pipeline's") == "models:/mine@champion"


def test_without_an_s3_client_it_says_what_to_install(
    model_package: Path, cache: Path, unique_name: str, mlflow_url: str, s3: str
) -> None:
    with mlflow_client(mlflow_url) as client:
        client.create_experiment(unique_name, artifact_location=f"{s3}/{unique_name}")
    version = register_unseen(model_package, unique_name, mlflow_url)
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from pathlib import Path; from worker.admission.source import resolve\n"
        f"resolve('models:/{unique_name}/{version}', cache_directory=Path({str(cache)!r}), tracking_uri={mlflow_url!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert UserError.__name__ in done.stderr
    assert "hazardstream[s3]" in done.stderr
