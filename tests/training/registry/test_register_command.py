"""`hazardstream model register`: a model that is there already gets into a registry."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import UserError
from hazardstream.cli import app
from tests.flagship import SHIPPED_MODEL
from worker.admission.source import resolve
from worker.model.archive import pack
from worker.model.mlflow_client import local_store
from worker.model.package import MANIFEST, load_package


@pytest.fixture
def store(tmp_path: Path) -> str:
    return local_store(tmp_path / "mlflow")


def register(store: str, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["model", "register", *options, "--tracking-uri", store, "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow  # imports all of MLflow
def test_the_model_that_comes_along_is_registered_and_workers_find_it(store: str, tmp_path: Path) -> None:
    told = register(store)
    assert told == {"name": "battery_hazard", "version": "1", "alias": "champion", "registered": True}
    found = resolve("models:/battery_hazard@champion", cache_directory=tmp_path, tracking_uri=store)
    assert found.digest == load_package(SHIPPED_MODEL, version="1").digest


@pytest.mark.slow  # imports all of MLflow
def test_an_exported_file_is_registered_behind_another_alias(store: str, tmp_path: Path) -> None:
    pack(load_package(SHIPPED_MODEL, version="7"), "models:/battery_hazard@champion", tmp_path / "model.hazardmodel")
    told = register(store, str(tmp_path / "model.hazardmodel"), "--alias", "challenger")
    assert (told["version"], told["alias"]) == ("1", "challenger")


@pytest.mark.slow  # imports all of MLflow
def test_a_champion_that_stands_is_left_alone_where_that_is_asked(store: str) -> None:
    first = register(store, "--if-none")
    assert register(store, "--if-none") == first | {"registered": False}
    assert register(store) == first | {"registered": False}  # the same package: no second version


@pytest.mark.slow  # imports all of MLflow
def test_another_package_becomes_champion_only_on_request(store: str, tmp_path: Path) -> None:
    register(store)
    other = tmp_path / "other"
    shutil.copytree(SHIPPED_MODEL, other)
    manifest = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps(manifest | {"created_at": "2026-01-31T12:00:00+00:00"}))
    assert register(store, str(other)) == {
        "name": "battery_hazard",
        "version": "2",
        "alias": None,
        "registered": True,
    }
    done = CliRunner().invoke(app, ["model", "register", str(other), "--tracking-uri", store])
    assert done.stdout.splitlines() == [
        "battery_hazard version 2 is this package, registered before",
        "battery_hazard@champion stays at version 1; to move it: --alias champion",
    ]
    assert register(store, str(other), "--alias", "champion")["alias"] == "champion"
    assert resolve("models:/battery_hazard@champion", cache_directory=tmp_path, tracking_uri=store).version == "2"


def test_a_package_one_directory_deeper_is_named(store: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED_MODEL, tmp_path / "inner")
    done = CliRunner().invoke(app, ["model", "register", str(tmp_path), "--tracking-uri", store])
    assert f"did you mean {tmp_path / 'inner'}?" in str(done.exception)


def test_a_path_that_is_no_model_is_reported(store: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["model", "register", str(tmp_path), "--tracking-uri", store])
    assert done.exit_code != 0
    assert "no model in" in str(done.exception)


def test_an_alias_of_a_bad_name_leaves_nothing_behind(store: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["model", "register", "--alias", "a b/c", "--tracking-uri", store])
    assert isinstance(done.exception, UserError)
    assert "'a b/c': Invalid alias name" in str(done.exception)
    assert not (tmp_path / "mlflow").exists()
