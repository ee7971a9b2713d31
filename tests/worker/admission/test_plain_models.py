"""Plain models from a real MLflow server, in the layouts of MLflow 2 and 3: found, checked, cached and trusted."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pytest
import xgboost
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from typer.testing import CliRunner

from common.errors import DependencyDownError
from hazardstream.cli import app
from tests.plain_models import NO_REQUIREMENTS, NUMBERS, features, leaks, pump_rows, saved, wear
from worker.admission.admit import Demands
from worker.admission.source import mlflow_source, resolve
from worker.config.settings import load_settings
from worker.config.trust import Trust
from worker.model.contract import Task
from worker.model.mlflow_client import mlflow_client
from worker.model.model_files import TUNED_MODEL, TUNED_SCALER
from worker.model.package import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def _spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sandbox, which takes seconds: where a test is not about it."""
    monkeypatch.setattr("worker.admission.admit.load_in_sandbox", lambda *_args, **_more: None)


@contextmanager
def run_at(url: str) -> Iterator[Any]:
    """A run of a training script."""
    mlflow.set_tracking_uri(url)
    with mlflow.start_run() as run:
        yield run


def regression() -> Any:
    return make_pipeline(StandardScaler(), SVR()).fit(TABLE, wear(TABLE))


def logged(url: str, name: str, model: Any = None, **more: Any) -> tuple[Any, str]:
    """Log and register as MLflow 3 does, with a metric of the run; the model's information and the run's id."""
    model = model or regression()
    signature = infer_signature(TABLE, model.predict(TABLE))
    with run_at(url) as run:
        mlflow.log_metric("test_mae", 0.25)
        log_model = (mlflow.xgboost if isinstance(model, xgboost.XGBModel) else mlflow.sklearn).log_model
        info = log_model(
            model, name="estimator", signature=signature, registered_model_name=name, **NO_REQUIREMENTS, **more
        )
    return info, run.info.run_id


@pytest.mark.usefixtures("_spared")
def test_each_uri_finds_the_model_that_mlflow_3_logged(cache: Path, unique_name: str, mlflow_url: str) -> None:
    info, run = logged(mlflow_url, unique_name)
    with mlflow_client(mlflow_url) as client:
        client.set_registered_model_alias(unique_name, "champion", "1")
    versions = {
        f"models:/{unique_name}@champion": "1",
        f"models:/{unique_name}/1": "1",
        f"models:/{unique_name}/latest": "1",
        f"models:/{info.model_id}": info.model_id,
        f"runs:/{run}/estimator": f"run:{run}",
    }
    expected = regression().predict(TABLE)
    digests = set()
    for uri, version in versions.items():
        model = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
        assert (model.version, model.task, model.error_band) == (version, Task.REGRESSION, 0.25), uri
        assert model.name == (unique_name if uri.startswith(f"models:/{unique_name}") else "estimator")
        np.testing.assert_array_equal(model.predict(features(model, TABLE)).value, expected)
        digests.add(model.digest)
    assert len(digests) == 1  # whichever way the files were fetched


def test_latest_moves_with_each_version(cache: Path, unique_name: str, mlflow_url: str) -> None:
    logged(mlflow_url, unique_name)
    source = mlflow_source(f"models:/{unique_name}/latest", cache_directory=cache, tracking_uri=mlflow_url)
    assert source is not None
    assert source.moves
    assert source.look_up().version == "1"
    logged(mlflow_url, unique_name)
    assert source.look_up().version == "2"


@pytest.mark.usefixtures("_spared")
def test_a_run_of_mlflow_2_keeps_its_model_among_its_files(cache: Path, tmp_path: Path, mlflow_url: str) -> None:
    model = regression()
    directory = saved(mlflow.sklearn, model, tmp_path / "m", TABLE, model.predict(TABLE))
    with run_at(mlflow_url) as run:
        mlflow.log_artifacts(str(directory), "estimator")
        mlflow.set_tag("hazardstream.error_band", "0.5")
    found = resolve(f"runs:/{run.info.run_id}/estimator", cache_directory=cache, tracking_uri=mlflow_url)
    assert (found.version, found.error_band) == (f"run:{run.info.run_id}", 0.5)


@pytest.mark.usefixtures("_spared")
@pytest.mark.parametrize("layout", [2, 3])
def test_the_best_run_of_an_older_system_is_found(
    cache: Path, tmp_path: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch, layout: int
) -> None:
    import joblib  # noqa: PLC0415 - of this test only

    scaler = StandardScaler().fit(TABLE)
    classifier = xgboost.XGBClassifier(n_estimators=3).fit(scaler.transform(TABLE), leaks(ROWS))
    joblib.dump(scaler, tmp_path / TUNED_SCALER)
    with run_at(mlflow_url) as run:
        mlflow.log_artifact(str(tmp_path / TUNED_SCALER))
        mlflow.log_metric("roc_auc", 0.9)
        if layout == 3:
            mlflow.xgboost.log_model(classifier, name=TUNED_MODEL, **NO_REQUIREMENTS)
        else:
            mlflow.xgboost.save_model(classifier, str(tmp_path / "m"), **NO_REQUIREMENTS)
            mlflow.log_artifacts(str(tmp_path / "m"), TUNED_MODEL)
    monkeypatch.setenv("BEST_MLFLOW_RUN_ID", run.info.run_id)

    model = resolve(load_settings().model_uri("unused"), cache_directory=cache, tracking_uri=mlflow_url)

    assert (model.name, model.version) == (TUNED_MODEL, f"run:{run.info.run_id}")
    assert model.metrics["roc_auc"] == 0.9
    np.testing.assert_array_equal(
        model.predict(features(model, TABLE)).value,
        classifier.predict_proba(scaler.transform(TABLE))[:, 1].astype(float),
    )


@pytest.mark.usefixtures("_spared")
def test_while_mlflow_is_down_the_cached_model_serves_with_all_that_is_known_of_it(
    cache: Path, unique_name: str, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(mlflow_url, unique_name)
    uri = f"models:/{unique_name}/1"
    online = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    monkeypatch.setattr("worker.admission.mlflow_source.version_in", _down)
    offline = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    assert (offline.version, offline.digest, offline.error_band) == (online.version, online.digest, 0.25)


def _down(*_: object) -> None:
    raise DependencyDownError("mlflow", "it does not answer")


@pytest.mark.usefixtures("_spared")
def test_code_is_trusted_by_digest_or_for_the_whole_registry(cache: Path, unique_name: str, mlflow_url: str) -> None:
    forest = RandomForestClassifier(3).fit(TABLE, leaks(ROWS))
    logged(mlflow_url, unique_name, forest, serialization_format="cloudpickle")
    uri = f"models:/{unique_name}/1"
    with pytest.raises(PackageError, match="is a pickle, and loading that runs its author's code") as caught:
        resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    assert caught.value.fault == "untrusted"
    digest = str(caught.value).partition("HAZARDSTREAM_MODEL_TRUST=sha256:")[2][:64]
    for trust in (Trust(digests=frozenset({digest})), Trust(registry=True)):
        model = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url, demands=Demands(trust=trust))
        assert (model.digest, model.task) == (digest, Task.BINARY)


@pytest.mark.usefixtures("_spared")
def test_xgboost_needs_no_trust_and_no_registered_digest(cache: Path, unique_name: str, mlflow_url: str) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=3).fit(TABLE, leaks(ROWS))
    logged(mlflow_url, unique_name, classifier)
    assert resolve(f"models:/{unique_name}/1", cache_directory=cache, tracking_uri=mlflow_url).task is Task.BINARY


@pytest.mark.slow  # loads models in a process of their own
def test_a_directory_and_a_file_uri_name_the_same_model(cache: Path, tmp_path: Path) -> None:
    directory = saved(mlflow.sklearn, regression(), tmp_path / "pump wear", TABLE, [1.5])
    for uri in (str(directory), directory.as_uri()):
        model = resolve(uri, cache_directory=cache)
        assert (model.name, model.version) == ("pump wear", f"sha256:{model.digest[:12]}")


@pytest.mark.slow  # loads models in a process of their own
def test_a_model_that_crashes_while_it_loads_does_not_take_the_worker_along(cache: Path, tmp_path: Path) -> None:
    directory = saved(mlflow.sklearn, regression(), tmp_path / "m", TABLE, [1.5], serialization_format="pickle")
    (directory / "model.pkl").write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(PackageError) as caught:
        resolve(str(directory), cache_directory=cache)
    digest = str(caught.value).partition("HAZARDSTREAM_MODEL_TRUST=sha256:")[2][:64]
    trusting = Demands(trust=Trust(digests=frozenset({digest})))
    with pytest.raises(PackageError, match="the process that checks it crashes") as caught:
        resolve(str(directory), cache_directory=cache, demands=trusting)
    assert caught.value.fault == "crashes"


@pytest.mark.slow  # loads models in a process of their own
def test_info_shows_what_the_files_say_and_verify_what_was_checked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAZARDSTREAM_CACHE_DIRECTORY", str(cache))
    directory = saved(mlflow.sklearn, regression(), tmp_path / "m", TABLE, [1.5], metadata={"test_mae": 0.25})
    shown = CliRunner().invoke(app, ["model", "info", str(directory), "--json"])
    facts = json.loads(shown.stdout.splitlines()[-1])
    assert (facts["name"], facts["error_band"]) == ("m", 0.25)
    assert facts["flavors"] == ["python_function", "sklearn"]
    assert [each["name"] for each in facts["inputs"]] == NUMBERS
    for_people = CliRunner().invoke(app, ["model", "info", str(directory)]).stdout
    assert "pressure (double, required)" in for_people
    refused = CliRunner().invoke(app, ["model", "verify", str(directory)])
    assert "is a regression model, and the pipeline or the model's metadata say binary" in str(refused.exception)
