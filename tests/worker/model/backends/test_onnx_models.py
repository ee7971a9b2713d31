"""ONNX models that MLflow wrote: tables of one tensor and of one input for each column; no trust is needed."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow.onnx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from tests.plain_models import NUMBERS, features, leaks, loaded, mixed_pipeline, pump_rows, saved, wear
from worker.model.contract import Task
from worker.model.package_files import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]
MATRIX = TABLE.to_numpy(np.float32)


def converted(model: Any, directory: Path, target: Any, **options: Any) -> Path:
    """Fit on the numbers, convert to ONNX, write with MLflow."""
    model.fit(MATRIX, target)
    return saved(mlflow.onnx, to_onnx(model, MATRIX[:1], **options), directory, TABLE, [1.0])


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_classifier_gives_probabilities(tmp_path: Path, *, zipmap: bool) -> None:
    classifier = RandomForestClassifier(5, random_state=0)
    model = loaded(converted(classifier, tmp_path / "m", leaks(ROWS), options={"zipmap": zipmap}))

    assert (model.task, model.classes) == (Task.BINARY, ("0", "1"))
    np.testing.assert_allclose(
        model.predict(features(model, TABLE)).value, classifier.predict_proba(MATRIX)[:, 1], atol=1e-6
    )


@pytest.mark.parametrize("zipmap", [True, False])
def test_classes_have_the_names_that_the_model_gives_them(tmp_path: Path, *, zipmap: bool) -> None:
    directory = converted(LogisticRegression(), tmp_path / "m", ROWS.site, options={"zipmap": zipmap})
    names = loaded(directory).classes
    assert names == ("north", "south", "west")


def test_a_regression_gives_values(tmp_path: Path) -> None:
    regressor = RandomForestRegressor(5, random_state=0)
    model = loaded(converted(regressor, tmp_path / "m", wear(TABLE)))
    assert model.task is Task.REGRESSION
    np.testing.assert_allclose(model.predict(features(model, TABLE)).value, regressor.predict(MATRIX), rtol=1e-5)


def mixed(directory: Path, **more: Any) -> tuple[Path, Any]:
    """One input for each column; an integer and a text among them."""
    columns = ["pressure", "flow", "starts", "site"]
    pipeline = mixed_pipeline(LogisticRegression()).fit(ROWS[columns], leaks(ROWS))
    types = [
        ("pressure", FloatTensorType([None, 1])),
        ("flow", FloatTensorType([None, 1])),
        ("starts", Int64TensorType([None, 1])),
        ("site", StringTensorType([None, 1])),
    ]
    onnx_model = to_onnx(pipeline, initial_types=types, options={"zipmap": False})
    rows = ROWS[["site", "flow", "starts", "pressure"]]
    return saved(mlflow.onnx, onnx_model, directory, rows, [1.0], **more), pipeline.predict_proba(ROWS[columns])[:, 1]


def test_columns_go_by_name_and_integers_and_texts_may_not_be_missing(tmp_path: Path) -> None:
    directory, expected = mixed(tmp_path / "m", input_example=ROWS[["site", "flow", "starts", "pressure"]].head(20))
    model = loaded(directory)

    assert {each.name for each in model.inputs if each.required} >= {"starts", "site"}
    np.testing.assert_allclose(model.predict(features(model, ROWS)).value, expected, atol=1e-5)


def test_a_text_column_without_an_example_asks_for_one(tmp_path: Path) -> None:
    directory, _ = mixed(tmp_path / "m")
    with pytest.raises(PackageError, match="log it with an input_example, which shows values of site"):
        loaded(directory)


def wide() -> Any:
    """A model whose weights are large enough for a file of their own."""
    weights = numpy_helper.from_array(np.full((2, 512), 0.5, np.float32), "w")
    total = numpy_helper.from_array(np.ones((512, 1), np.float32), "ones")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "ones"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [weights, total],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_weights_in_a_second_file_are_found(tmp_path: Path) -> None:
    directory = saved(mlflow.onnx, wide(), tmp_path / "m", TABLE, [1.0], save_as_external_data=True)
    assert (directory / "model.onnx").stat().st_size < 1000
    model = loaded(directory)
    np.testing.assert_allclose(model.predict(features(model, TABLE)).value, MATRIX.sum(axis=1) * 256, rtol=1e-4)


@pytest.mark.parametrize("absolute", [False, True])
def test_weights_outside_the_folder_of_the_model_are_refused(tmp_path: Path, absolute: bool) -> None:
    directory = saved(mlflow.onnx, wide(), tmp_path / "m", TABLE, [1.0], save_as_external_data=True)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 16))
    changed = onnx.load(directory / "model.onnx", load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = str(secret) if absolute else os.path.relpath(secret, tempfile.gettempdir() + "/x")
    (directory / "model.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(PackageError, match="External data path validation failed") as caught:
        loaded(directory)
    assert caught.value.fault == "bad_model"


def test_another_number_of_columns_is_refused(tmp_path: Path) -> None:
    model = to_onnx(LogisticRegression().fit(MATRIX, leaks(ROWS)), MATRIX[:1])
    directory = saved(mlflow.onnx, model, tmp_path / "m", ROWS[[*NUMBERS, "starts"]], [1.0])
    with pytest.raises(PackageError, match="its signature has 3 columns") as caught:
        loaded(directory)
    assert caught.value.fault == "wrong_signature"


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    directory = converted(LogisticRegression(), tmp_path / "m", leaks(ROWS))
    (directory / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(PackageError, match="onnxruntime cannot read it") as caught:
        loaded(directory)
    assert caught.value.fault == "bad_model"


def test_without_onnxruntime_it_says_which_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = converted(LogisticRegression(), tmp_path / "m", leaks(ROWS))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PackageError, match=r"pip install 'hazardstream\[onnx\]'") as caught:
        loaded(directory)
    assert caught.value.fault == "missing_library"
