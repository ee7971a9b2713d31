"""The digest of a model that MLflow wrote, and its signature."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import mlflow.xgboost
import numpy as np
import pytest
import xgboost
import yaml

from tests.plain_models import NUMBERS, leaks, loaded, pump_rows, saved
from worker.model.model_files import read_model_files
from worker.model.package_files import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]
DIGEST = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(TABLE, leaks(ROWS)), 2)
    return saved(mlflow.xgboost, booster, tmp_path / "m", TABLE, np.ones(1))


def test_the_digest_is_what_a_shell_computes(directory: Path) -> None:
    (directory / "extra").mkdir()
    (directory / "extra" / "notes and more.txt").write_text("of the author")
    shell = subprocess.run(DIGEST, cwd=directory, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert read_model_files(directory, "pump").digest == shell.stdout.split()[0]


def test_the_digest_covers_each_file_but_not_what_mlflow_adds_to_a_download(directory: Path) -> None:
    before = read_model_files(directory, "pump").digest
    (directory / "registered_model_meta").write_text("model_name: pump")
    assert read_model_files(directory, "pump").digest == before
    (directory / "requirements.txt").write_text("something else")
    assert read_model_files(directory, "pump").digest != before
    with pytest.raises(PackageError, match="digest mismatch") as caught:
        read_model_files(directory, "pump", expected_digest=before)
    assert caught.value.fault == "digest_mismatch"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_out_of_the_directory_and_pipes_are_refused(directory: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("of the machine")
    (directory / "odd").symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(directory / "odd")
    with pytest.raises(PackageError, match=r"odd is (a link to outside|not a regular file)"):
        read_model_files(directory, "pump")


def change_signature(directory: Path, inputs: Any) -> None:
    path = directory / "MLmodel"
    content = yaml.safe_load(path.read_text())
    content["signature"] = inputs if inputs is None else content["signature"] | {"inputs": json.dumps(inputs)}
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (None, r"has no signature.*infer_signature"),
        ([], "has no signature"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}], "the signature is a tensor"),
        ([{"type": "double"}], "a column of the signature has no name"),
        ([{"type": "datetime", "name": "at"}], "column 'at' has the type datetime; a column must be one of double"),
        ([{"type": "array", "name": "a", "items": {"type": "double"}}], "column 'a' has the type array"),
        ([{"type": "double", "name": "flow"}, {"type": "double", "name": "flow"}], "names flow twice"),
        ([{"type": "double", "name": "flow"}], "takes pressure, which the signature does not have"),
    ],
)
def test_a_signature_that_names_no_columns_is_refused(directory: Path, inputs: Any, text: str) -> None:
    change_signature(directory, inputs)
    with pytest.raises(PackageError, match=text) as caught:
        loaded(directory)
    assert caught.value.fault == "wrong_signature"


@pytest.mark.parametrize("content", [b"", b"[", b"flavors: 3", b"\xff\xfe", b"flavors: {xgboost: {data: none.ubj}}"])
def test_an_mlmodel_file_that_cannot_be_read_is_refused(directory: Path, content: bytes) -> None:
    (directory / "MLmodel").write_bytes(content)
    with pytest.raises(PackageError):
        loaded(directory)


def test_a_flavour_that_nobody_reads_is_named(directory: Path) -> None:
    path = directory / "MLmodel"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"flavors": {"rfunc": {}}}))
    with pytest.raises(PackageError, match="has the flavours rfunc; the worker reads xgboost, sklearn, onnx"):
        loaded(directory)


def test_a_file_that_is_missing_is_named(directory: Path) -> None:
    (directory / "model.ubj").unlink()
    with pytest.raises(PackageError, match=r"model\.ubj is missing") as caught:
        loaded(directory)
    assert caught.value.fault == "missing_file"
