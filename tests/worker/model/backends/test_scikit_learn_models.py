"""scikit-learn models that MLflow wrote: which trust they need, and that they score as scikit-learn does."""

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR, LinearSVC

from tests.plain_models import NUMBERS, features, leaks, loaded, mixed_pipeline, pump_rows, saved, wear
from worker.model.contract import Task
from worker.model.package_files import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]
PICKLED = {"serialization_format": "cloudpickle"}


def save(model: Any, directory: Path, rows: pd.DataFrame, target: Any, **more: Any) -> Path:
    """Fit, and write with MLflow."""
    model.fit(rows, target)
    return saved(mlflow.sklearn, model, directory, rows, model.predict(rows.head()), **more)


@pytest.mark.slow  # logs models with MLflow
def test_a_pipeline_with_texts_integers_and_booleans_scores_as_offline(tmp_path: Path) -> None:
    pipeline = mixed_pipeline(RandomForestClassifier(10, random_state=0))
    model = loaded(save(pipeline, tmp_path / "m", ROWS, leaks(ROWS), **PICKLED), trusted=True)

    assert model.task is Task.BINARY
    assert [(each.name, each.type) for each in model.inputs] == [
        ("pressure", "double"), ("flow", "double"), ("starts", "long"), ("primed", "boolean"), ("site", "string"),
    ]  # fmt: skip
    np.testing.assert_array_equal(model.predict(features(model, ROWS)).value, pipeline.predict_proba(ROWS)[:, 1])


@pytest.mark.slow  # logs models with MLflow
def test_what_the_pipeline_fills_may_be_missing_and_what_it_does_not_may_not(tmp_path: Path) -> None:
    pipeline = mixed_pipeline(LogisticRegression())
    model = loaded(save(pipeline, tmp_path / "m", ROWS, leaks(ROWS), **PICKLED), trusted=True)

    required = {each.name for each in model.inputs if each.required}

    assert required == {"primed", "site"}  # the imputer is before pressure, flow and the integer starts
    gaps = ROWS.assign(starts=ROWS.starts.astype(float).where(ROWS.index % 2 == 0))
    np.testing.assert_allclose(
        model.predict(features(model, gaps)).value, pipeline.predict_proba(gaps)[:, 1], rtol=1e-12
    )


@pytest.mark.slow  # logs models with MLflow
@pytest.mark.parametrize("example", [None, ROWS])
def test_a_text_that_the_encoder_does_not_know_costs_its_own_row_only(tmp_path: Path, example: Any) -> None:
    pipeline = mixed_pipeline(LogisticRegression())
    directory = save(pipeline, tmp_path / "m", ROWS, leaks(ROWS), input_example=example, **PICKLED)
    model = loaded(directory, trusted=True)
    strange = ROWS.copy()
    strange.loc[[3, 7], "site"] = "mars"

    predicted, usual = model.predict(features(model, strange)), model.predict(features(model, ROWS))

    assert set(predicted.unscored) == {3, 7}
    expected = "unknown categories" if example is None else "site is 'mars', which the model was not trained on"
    assert expected in predicted.unscored[3]
    assert np.isnan(predicted.value[[3, 7]]).all()
    others = np.delete(np.arange(len(ROWS)), [3, 7])
    np.testing.assert_array_equal(predicted.value[others], usual.value[others])


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), SVR()),
        make_pipeline(StandardScaler(), LinearRegression()),
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=10, random_state=0),
        RandomForestRegressor(5, n_jobs=2),
    ],
    ids=lambda model: type(model[-1] if hasattr(model, "steps") else model).__name__,
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_regression_scores_a_row_the_same_in_any_company(tmp_path: Path, model: Any) -> None:
    trained = loaded(save(model, tmp_path / "m", TABLE, wear(TABLE), **PICKLED), trusted=True)
    assert trained.task is Task.REGRESSION
    many = features(trained, pump_rows(3000, seed=9)[NUMBERS])

    together = trained.predict(many).value

    np.testing.assert_allclose(together, model.predict(many_frame(many.numbers)), rtol=1e-12, atol=1e-12)
    for rows in (slice(0, 1), slice(5, 7), slice(100, 163), slice(1, 2999), np.arange(2999, -1, -1)):
        np.testing.assert_array_equal(trained.predict(many.take(rows)).value, together[rows])


def many_frame(numbers: Any) -> pd.DataFrame:
    return pd.DataFrame(numbers, columns=NUMBERS)


def test_models_without_pickled_code_need_no_trust(tmp_path: Path) -> None:
    directory = save(make_pipeline(StandardScaler(), SVR()), tmp_path / "m", TABLE, wear(TABLE))
    assert (directory / "model.skops").is_file()
    assert loaded(directory, trusted=False).task is Task.REGRESSION


def test_a_small_archive_that_inflates_to_a_large_text_is_refused(tmp_path: Path) -> None:
    directory = save(make_pipeline(StandardScaler(), SVR()), tmp_path / "m", TABLE, wear(TABLE))
    with zipfile.ZipFile(directory / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (65 << 20))
    with pytest.raises(PackageError, match=r"schema.json in model.skops has more than 64 MiB") as caught:
        loaded(directory)
    assert caught.value.fault == "too_large"


@pytest.mark.parametrize("form", ["cloudpickle", "pickle", "skops"])
def test_code_needs_trust_and_the_refusal_says_how_to_give_it(tmp_path: Path, form: str) -> None:
    more = {"serialization_format": form, "skops_trusted_types": ["sklearn.tree._tree.Tree"]}
    directory = save(RandomForestClassifier(3), tmp_path / "m", TABLE, leaks(ROWS), **more)
    trusted = loaded(directory, trusted=True)
    with pytest.raises(PackageError, match=f"HAZARDSTREAM_MODEL_TRUST=sha256:{trusted.digest}") as caught:
        loaded(directory, trusted=False)
    assert caught.value.fault == "untrusted"
    assert f"`trust: sha256:{trusted.digest}` in the pipeline file" in str(caught.value)


class Runs:
    """Pickled code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_nothing_of_an_untrusted_pickle_runs(tmp_path: Path) -> None:
    directory = save(LogisticRegression(), tmp_path / "m", TABLE, leaks(ROWS), **PICKLED)
    (directory / "model.pkl").write_bytes(pickle.dumps(Runs(tmp_path / "trace")))
    with pytest.raises(PackageError, match="is a pickle"):
        loaded(directory, trusted=False)
    assert not (tmp_path / "trace").exists()
    with pytest.raises(PackageError, match="which cannot predict"):
        loaded(directory, trusted=True)
    assert (tmp_path / "trace").exists()


def test_a_classifier_without_probabilities_is_refused(tmp_path: Path) -> None:
    directory = save(LinearSVC(), tmp_path / "m", TABLE, leaks(ROWS))
    with pytest.raises(PackageError, match="LinearSVC gives classes and no probabilities; wrap it") as caught:
        loaded(directory)
    assert caught.value.fault == "wrong_output"


def test_several_targets_are_refused(tmp_path: Path) -> None:
    targets = pd.DataFrame({"a": leaks(ROWS), "b": leaks(ROWS)})
    directory = save(RandomForestClassifier(3), tmp_path / "m", TABLE, targets, **PICKLED)
    with pytest.raises(PackageError, match="several targets"):
        loaded(directory, trusted=True)


def test_classes_have_their_own_names(tmp_path: Path) -> None:
    model = loaded(save(LogisticRegression(), tmp_path / "m", TABLE, ROWS.site))
    assert (model.task, model.classes) == (Task.MULTICLASS, ("north", "south", "west"))


@pytest.mark.slow  # logs models with MLflow
def test_a_model_that_was_trained_with_gaps_takes_them(tmp_path: Path) -> None:
    gaps = TABLE.mask(np.random.default_rng(1).random(TABLE.shape) < 0.2)
    model = loaded(save(HistGradientBoostingClassifier(max_iter=3), tmp_path / "m", gaps, leaks(ROWS), **PICKLED),
                   trusted=True)  # fmt: skip
    assert not any(each.required for each in model.inputs)


def test_an_integer_stays_one_where_the_model_treats_doubles_differently(tmp_path: Path) -> None:
    def of_integers(rows: pd.DataFrame) -> Any:
        return rows * (rows.dtypes.starts.kind == "i")

    table = ROWS[["starts"]].astype("int64")
    pipeline = make_pipeline(FunctionTransformer(of_integers), LinearRegression())
    model = loaded(save(pipeline, tmp_path / "m", table, table.starts, **PICKLED), trusted=True)

    assert model.inputs[0].required
    np.testing.assert_allclose(model.predict(features(model, table)).value, table.starts, atol=1e-9)


@pytest.mark.slow  # a process of its own
def test_an_xgboost_classifier_in_a_pipeline_is_found_by_a_worker_that_has_not_loaded_scikit_learn(
    tmp_path: Path,
) -> None:
    pipeline = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=3))
    directory = save(pipeline, tmp_path / "m", TABLE, leaks(ROWS), **PICKLED)
    code = (
        "from pathlib import Path\n"
        "import worker.model.boosting\n"
        "from worker.model.backends.load import load_plain_model\n"
        "from worker.model.model_files import read_model_files\n"
        f"files = read_model_files(Path({str(directory)!r}), 'pump')\n"
        "print(load_plain_model(files, version='1', trusted=True).task)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "binary", done.stderr


def test_without_pandas_it_says_which_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = save(LogisticRegression(), tmp_path / "m", TABLE, leaks(ROWS))
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(PackageError, match=r"needs skops, .* pip install 'hazardstream\[models\]'") as caught:
        loaded(directory)
    assert caught.value.fault == "missing_library"
