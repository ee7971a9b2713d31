"""Models from a directory, a real MLflow store and a real MLflow server; and from the cache while that is down."""

import json
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from common.errors import DependencyDownError, UserError
from local.mlflow_server import mlflow_server
from local.process import free_ports
from tests.models import renamed, resealed, with_pickled_scaler
from training.registry.register import register_package
from worker.admission.source import resolve
from worker.model.mlflow_client import NotAllowedError, local_store, mlflow_client, without_credentials
from worker.model.package import MANIFEST, ModelPackage, digest

pytestmark = pytest.mark.xdist_group("source")


@pytest.fixture
def package(model_package: Path, tmp_path: Path, unique_name: str) -> Path:
    """A package under a name of this test's own."""
    return renamed(model_package, tmp_path / "package", unique_name)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def store_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a local MLflow store is: making one takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow  # loads the model in a sandbox
def test_a_directory_is_a_model_named_by_its_digest(model_package: Path, cache: Path) -> None:
    model = resolve(str(model_package), cache_directory=cache)
    assert model.version == f"sha256:{digest(model_package / MANIFEST)[:12]}"
    assert {path.name for path in (cache / "models").iterdir()} == {"passed"}


def test_a_directory_without_a_package_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hazardstream train --output"):
        resolve(str(tmp_path), cache_directory=tmp_path)
    with pytest.raises(UserError, match="there is no such file or directory"):
        resolve(str(tmp_path / "nothing"), cache_directory=tmp_path)


@pytest.mark.parametrize(
    "uri", ["models:/battery_hazard", "models:/a/Elsewhere", "models:/a@", "models:a@b", "runs:/1", "models:/a/b@c"]
)
def test_a_uri_of_no_known_form_is_refused_with_those_that_are(uri: str, cache: Path) -> None:
    with pytest.raises(UserError, match="models:/NAME@ALIAS"):
        resolve(uri, cache_directory=cache)


def test_a_server_gives_a_model_by_alias_version_and_run(package: Path, cache: Path, mlflow_url: str) -> None:
    done = register_package(package, alias="champion", tracking_uri=mlflow_url)
    uris = {
        f"models:/{done.name}@champion": "1",
        f"models:/{done.name}/1": "1",
        f"runs:/{done.run_id}/model": f"run:{done.run_id}",
    }
    for uri, version in uris.items():
        model = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
        assert (model.name, model.version) == (done.name, version)


@pytest.mark.slow  # imports all of MLflow
def test_a_local_store_gives_a_model(package: Path, cache: Path, store_directory: Path) -> None:
    store = local_store(store_directory)
    done = register_package(package, tracking_uri=store)
    assert resolve(f"models:/{done.name}@champion", cache_directory=cache, tracking_uri=store).version == "1"


def test_a_moved_alias_is_followed(package: Path, cache: Path, mlflow_url: str) -> None:
    uri = f"models:/{register_package(package, tracking_uri=mlflow_url).name}@champion"
    assert resolve(uri, cache_directory=cache, tracking_uri=mlflow_url).version == "1"
    register_package(resealed(package, created_at="later"), tracking_uri=mlflow_url)
    second = resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    assert isinstance(second, ModelPackage)
    assert (second.version, second.manifest.created_at) == ("2", "later")


def test_what_is_cached_is_not_downloaded_again(package: Path, cache: Path, mlflow_url: str) -> None:
    uri = f"models:/{register_package(package, tracking_uri=mlflow_url).name}/1"
    with capture_logs() as logs:
        for _ in range(2):
            resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    assert [log["event"] for log in logs] == ["model downloaded"]


def test_a_damaged_cache_is_downloaded_again(package: Path, cache: Path, mlflow_url: str) -> None:
    uri = f"models:/{register_package(package, tracking_uri=mlflow_url).name}@champion"
    resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    next(cache.rglob("booster.ubj")).write_bytes(b"")
    with capture_logs() as logs:
        assert resolve(uri, cache_directory=cache, tracking_uri=mlflow_url).version == "1"
    assert [log["event"] for log in logs] == ["cached model discarded", "model downloaded"]
    assert "booster.ubj was altered" in logs[0]["reason"]


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.slow  # imports all of MLflow
def test_a_package_forged_in_the_artifact_store_is_refused_and_not_kept(
    package: Path, cache: Path, tmp_path: Path, store_directory: Path
) -> None:
    store, trace = local_store(store_directory), tmp_path / "trace"
    done = register_package(package, tracking_uri=store)
    stored = next(store_directory.rglob(f"{done.run_id}/**/scaler.json")).parent
    with_pickled_scaler(stored, Malicious(trace))
    with pytest.raises(UserError, match="differs from the registered one"):
        resolve(f"models:/{done.name}@champion", cache_directory=cache, tracking_uri=store)
    assert not trace.exists()
    assert not list(cache.rglob("*.joblib"))


@pytest.mark.parametrize("which", ["models:/{name}@challenger", "models:/{name}/2", "models:/no-such-model@champion"])
def test_what_the_registry_does_not_have_says_what_to_do(
    package: Path, cache: Path, mlflow_url: str, which: str
) -> None:
    uri = which.format(name=register_package(package, tracking_uri=mlflow_url).name)
    with pytest.raises(UserError, match="hazardstream model register") as caught:
        resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)
    assert uri in str(caught.value)


def test_no_such_run_or_path_says_what_to_do(package: Path, cache: Path, mlflow_url: str) -> None:
    done = register_package(package, tracking_uri=mlflow_url)
    for uri, remedy in (
        (f"runs:/{'0' * 32}/model", "hazardstream model register"),
        (f"runs:/{done.run_id}/elsewhere", "no files at elsewhere; correct the path"),
    ):
        with pytest.raises(UserError, match=remedy):
            resolve(uri, cache_directory=cache, tracking_uri=mlflow_url)


def test_a_local_store_that_is_not_there_is_not_created(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hazardstream model register"):
        resolve("models:/a@b", cache_directory=cache, tracking_uri=local_store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.slow  # imports all of MLflow
def test_a_local_store_needs_the_whole_of_mlflow(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"  # what an import of something not installed does
        "from pathlib import Path; from worker.admission.source import resolve\n"
        f"resolve('models:/a@b', cache_directory=Path({str(cache)!r}), tracking_uri={local_store(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "UserError" in done.stderr
    assert "hazardstream[training]" in done.stderr


@pytest.mark.slow  # starts an MLflow server
def test_while_mlflow_is_down_the_cached_version_serves(package: Path, cache: Path, tmp_path: Path) -> None:
    with mlflow_server(tmp_path / "server") as url:
        done = register_package(package, tracking_uri=url)
        uris = [f"models:/{done.name}@champion", f"models:/{done.name}/1", f"runs:/{done.run_id}/model"]
        online = [resolve(uri, cache_directory=cache, tracking_uri=url).version for uri in uris]
    with capture_logs() as logs:
        offline = [resolve(uri, cache_directory=cache, tracking_uri=url).version for uri in uris]
    assert offline == online
    assert {log["event"] for log in logs} == {"last good model used"}
    assert all(log["reason"].startswith("mlflow: ") for log in logs)
    with pytest.raises(DependencyDownError):
        resolve(f"models:/{done.name}@never-seen", cache_directory=cache, tracking_uri=url)
    next(cache.rglob("packages/*/1/scaler.json")).write_bytes(b"damaged")
    with pytest.raises(DependencyDownError, match=r"scaler\.json was altered"):
        resolve(uris[0], cache_directory=cache, tracking_uri=url)


class Forbidding(BaseHTTPRequestHandler):
    """MLflow behind a proxy that no longer takes our credentials."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b'{"error_code": "PERMISSION_DENIED", "message": "token expired"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow  # starts an MLflow server
def test_while_mlflow_refuses_the_cached_version_serves(package: Path, cache: Path, tmp_path: Path) -> None:
    with mlflow_server(tmp_path / "server") as url:
        uri = f"models:/{register_package(package, tracking_uri=url).name}@champion"
        assert resolve(uri, cache_directory=cache, tracking_uri=url).version == "1"
    with HTTPServer(("127.0.0.1", int(url.rpartition(":")[2])), Forbidding) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        with capture_logs() as logs:
            assert resolve(uri, cache_directory=cache, tracking_uri=url).version == "1"
        assert "token expired" in logs[0]["reason"]
        with pytest.raises(NotAllowedError, match="MLFLOW_TRACKING_TOKEN"):
            resolve("models:/never@seen", cache_directory=cache, tracking_uri=url)
        proxy.shutdown()


def test_mlflow_down_and_nothing_cached_is_to_be_waited_for(cache: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DependencyDownError, match=f"{port}.*refused") as caught:
        resolve("models:/a@b", cache_directory=cache, tracking_uri=f"http://127.0.0.1:{port}")
    assert caught.value.dependency == "mlflow"


def test_a_package_left_without_a_tag_by_other_hands_is_still_checked(
    package: Path, cache: Path, mlflow_url: str
) -> None:
    shutil.copyfile(package / "alarm.json", package / "metrics.json")
    with mlflow_client(mlflow_url) as client:
        experiment = client.create_experiment(quote(package.parent.name + package.name))
        run = client.create_run(experiment).info.run_id
        client.log_artifacts(run, str(package), "by-hand")
    with pytest.raises(UserError, match=r"metrics\.json was altered"):
        resolve(f"runs:/{run}/by-hand", cache_directory=cache, tracking_uri=mlflow_url)


def test_what_is_remembered_names_the_version_and_its_digest(package: Path, cache: Path, mlflow_url: str) -> None:
    done = register_package(package, tracking_uri=mlflow_url)
    resolve(f"models:/{done.name}@champion", cache_directory=cache, tracking_uri=mlflow_url)
    (memory,) = cache.rglob("resolved/*.json")
    remembered = json.loads(memory.read_text())
    assert (remembered["version"], remembered["digest"]) == ("1", done.manifest_sha256)


def test_passwords_in_a_tracking_uri_are_not_shown() -> None:
    assert without_credentials("https://user:secret@mlflow.example:5000/base") == "https://mlflow.example:5000/base"
    assert without_credentials("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"
