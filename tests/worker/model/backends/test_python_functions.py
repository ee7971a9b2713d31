"""MLflow's Python functions: code of their authors, so they need trust, and are tried before they are used."""

import re
import warnings
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from tests.plain_models import NUMBERS, features, loaded, pump_rows, saved
from worker.model.contract import ModelFailedError, Task
from worker.model.package_files import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]


class Function(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow has no types
    """Gives what a Python expression over the rows gives; `calls` counts the calls, `np` is NumPy."""

    def __init__(self, expression: str) -> None:
        self.expression, self.calls = expression, 0

    def predict(self, context: Any, model_input: pd.DataFrame) -> Any:  # noqa: ARG002 - MLflow's signature
        import numpy  # noqa: ICN001, PLC0415 - in the process that loads it

        self.calls += 1
        return eval(self.expression, {"np": numpy, "pd": pd, "calls": self.calls, "rows": model_input})  # noqa: S307


class _Flavor:
    @staticmethod
    def save_model(model: Any, path: str, **more: Any) -> None:
        mlflow.pyfunc.save_model(path, python_model=model, **more)


def function(directory: Path, expression: str, output: Any = 1.5, rows: pd.DataFrame = TABLE, **more: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = output if isinstance(output, pd.DataFrame) else np.array([output])
        return saved(_Flavor, Function(expression), directory, rows, output, **more)


def test_one_number_is_a_value(tmp_path: Path) -> None:
    model = loaded(function(tmp_path / "m", "rows['flow'] * 2"), trusted=True)
    assert model.task is Task.REGRESSION
    np.testing.assert_array_equal(model.predict(features(model, TABLE)).value, TABLE.flow * 2)


def test_one_number_is_a_probability_where_the_pipeline_says_so(tmp_path: Path) -> None:
    model = loaded(function(tmp_path / "m", "1 / (1 + np.exp(-rows['flow']))"), trusted=True, task=Task.BINARY)
    assert (model.task, model.classes) == (Task.BINARY, ("0", "1"))


def test_several_named_numbers_are_the_probabilities_of_classes(tmp_path: Path) -> None:
    expression = "pd.DataFrame({'bad': rows['flow'] > 0, 'good': rows['flow'] <= 0}).astype(float)"
    shown = pd.DataFrame({"good": [0.5], "bad": [0.5]})
    model = loaded(function(tmp_path / "m", expression, shown), trusted=True)
    assert (model.task, model.classes) == (Task.BINARY, ("good", "bad"))
    np.testing.assert_array_equal(model.predict(features(model, TABLE)).value, TABLE.flow > 0)


def test_it_needs_trust(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"it is a Python function.*HAZARDSTREAM_MODEL_TRUST=sha256:") as caught:
        loaded(function(tmp_path / "m", "rows['flow']"), trusted=False)
    assert caught.value.fault == "untrusted"


@pytest.mark.parametrize(
    ("expression", "task", "text"),
    [
        ("rows['flow'] * 0 + calls", None, "or changes from call to call"),
        ("np.random.random(len(rows))", None, "depends on the other rows of its call"),
        ("rows['flow'] - rows['flow'].mean()", None, "depends on the other rows of its call"),
        ("rows['flow'][:-1]", None, r"output of shape \(127,\) for 128 rows"),
        ("np.ones((len(rows), 2, 2))", None, r"output of shape \(128, 2, 2\)"),
        ("rows['flow'] * np.nan", None, "gives nan for a row without missing values"),
        ("rows['flow'].astype(str)", None, "values, not numbers"),
        ("(rows['flow'] > 0).astype(int)", None, "classes, or counts"),
        ("rows['flow'] * 0 + 3", Task.BINARY, "gives the probability 3.0, which does not lie between 0 and 1"),
        ("rows['flow'] * 0", Task.MULTICLASS, "suits no multiclass model"),
        ("rows['torque']", None, "cannot score rows that suit its signature; it raises KeyError: 'torque'"),
    ],
)
def test_what_a_worker_cannot_use_is_refused(tmp_path: Path, expression: str, task: Task | None, text: str) -> None:
    with pytest.raises(PackageError, match=text) as caught:
        loaded(function(tmp_path / "m", expression), trusted=True, task=task)
    assert caught.value.fault == "wrong_output"


def test_whole_numbers_are_values_where_the_pipeline_says_so(tmp_path: Path) -> None:
    directory = function(tmp_path / "m", "(rows['flow'] > 0).astype(int)")
    assert loaded(directory, trusted=True, task=Task.REGRESSION).task is Task.REGRESSION


def test_an_integer_column_of_the_signature_may_not_be_missing(tmp_path: Path) -> None:
    rows = ROWS[[*NUMBERS, "starts"]]
    model = loaded(function(tmp_path / "m", "rows['starts'] * 1.0", rows=rows), trusted=True)
    assert {each.name: each.required for each in model.inputs}["starts"]  # MLflow checks the signature's types itself
    np.testing.assert_array_equal(model.predict(features(model, rows)).value, rows.starts)


def test_a_model_that_breaks_in_use_is_at_fault_and_not_the_rows(tmp_path: Path) -> None:
    model = loaded(function(tmp_path / "m", "rows['flow'] if calls < 1000 else rows['none']"), trusted=True)
    rows = features(model, TABLE)
    with suppress(KeyError):
        while True:
            model.backend.scores[-1](rows.take([0]))
    with pytest.raises(ModelFailedError, match="cannot score: KeyError"):
        model.predict(rows)


@pytest.mark.parametrize(
    ("bad", "task", "why"),
    [
        ("exit(3)", Task.REGRESSION, "it raises SystemExit: 3"),
        ("(_ for _ in ()).throw(KeyboardInterrupt)", Task.REGRESSION, "it raises KeyboardInterrupt"),
        ("np.zeros((len(rows), 2))", Task.REGRESSION, r"output of shape \(1, 2\) for 1 rows"),
        ("rows['flow'] * 0 + 1.0001", Task.BINARY, "gives 1.0001 for it"),
    ],
)
def test_a_row_that_a_model_cannot_take_costs_no_other(tmp_path: Path, bad: str, task: Task, why: str) -> None:
    expression = f"({bad}) if (rows['flow'] == 1e6).any() else rows['flow'] * 0 + 0.5"
    if "1.0001" in bad:
        expression = "np.where(rows['flow'] == 1e6, 1.0001, 0.5)"
    model = loaded(function(tmp_path / "m", expression), trusted=True, task=task)
    rows = features(model, TABLE)
    rows.numbers[5, model.numeric.index("flow")] = 1e6
    found = model.predict(rows)
    assert list(found.unscored) == [5]
    assert re.search(why, found.unscored[5])
    np.testing.assert_array_equal(np.delete(found.value, 5), 0.5)


def test_a_model_changes_no_settings_of_the_engine(tmp_path: Path) -> None:
    expression = "(np.seterr(all='raise'), __import__('warnings').simplefilter('error'), rows['flow'] * 2)[2]"
    settings, filters = np.geterr(), list(warnings.filters)
    model = loaded(function(tmp_path / "m", expression), trusted=True)
    model.predict(features(model, TABLE))
    assert np.geterr() == settings
    assert list(warnings.filters) == filters


class Careless(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow has no types
    """Keeps its rows where another thread would change them."""

    def predict(self, context: Any, model_input: pd.DataFrame) -> Any:  # noqa: ARG002 - MLflow's signature
        import time  # noqa: PLC0415 - in the process that loads it

        self.rows = model_input
        time.sleep(0.0005)
        return self.rows["flow"].to_numpy() * 2


def test_threads_that_share_a_model_do_not_call_it_at_once(tmp_path: Path) -> None:
    model = loaded(saved(_Flavor, Careless(), tmp_path / "m", TABLE, np.array([1.5])), trusted=True)
    right: list[bool] = []

    def score(part: slice) -> None:
        rows, expected = features(model, TABLE[part]), TABLE.flow[part] * 2
        right.extend(np.array_equal(model.predict(rows).value, expected) for _ in range(20))

    threads = [Thread(target=score, args=(slice(at, at + 10),)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    directory = function(tmp_path / "m", "rows['flow']")
    mlmodel = directory / "MLmodel"
    mlmodel.write_text(mlmodel.read_text().replace("loader_module: mlflow.pyfunc.model", "loader_module: lightgbm_x"))
    with pytest.raises(PackageError, match="needs lightgbm_x, which is not installed: install lightgbm_x") as caught:
        loaded(directory, trusted=True)
    assert caught.value.fault == "missing_library"
