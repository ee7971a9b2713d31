"""XGBoost models that MLflow wrote: scored as XGBoost itself scores them, bit for bit, and without any trust."""

from pathlib import Path

import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost

from tests.plain_models import NUMBERS, features, leaks, loaded, pump_rows, saved, wear
from worker.model.contract import Task
from worker.model.package_files import PackageError

COLUMNS = [*NUMBERS, "starts"]
ROWS = pump_rows()
TABLE = ROWS[COLUMNS]


def test_a_binary_classifier_gives_the_probability_of_its_second_class(tmp_path: Path) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=5).fit(TABLE, leaks(ROWS))
    directory = saved(mlflow.xgboost, classifier, tmp_path / "m", TABLE, leaks(ROWS), metadata={"threshold": 0.3})

    model = loaded(directory)

    assert (model.task, model.classes, model.threshold) == (Task.BINARY, ("0", "1"), 0.3)
    np.testing.assert_array_equal(
        model.predict(features(model, TABLE)).value, classifier.predict_proba(TABLE)[:, 1].astype(float)
    )


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes_have_the_names_of_the_metadata(tmp_path: Path, objective: str) -> None:
    matrix = xgboost.DMatrix(TABLE, TABLE.starts % 3)
    booster = xgboost.train({"objective": objective, "num_class": 3}, matrix, 5)
    names = ["low", "middle", "high"]
    directory = saved(mlflow.xgboost, booster, tmp_path / "m", TABLE, np.ones(1), metadata={"classes": names})

    model = loaded(directory)
    predicted = model.predict(features(model, TABLE))

    assert (model.task, model.classes) == (Task.MULTICLASS, tuple(names))
    assert predicted.probabilities is not None
    np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(predicted.label, predicted.probabilities.argmax(axis=1))
    np.testing.assert_array_equal(predicted.value, predicted.probabilities.max(axis=1))


def test_a_regression_has_its_error_band_from_the_metadata(tmp_path: Path) -> None:
    regressor = xgboost.XGBRegressor(n_estimators=5).fit(TABLE, wear(ROWS))
    directory = saved(mlflow.xgboost, regressor, tmp_path / "m", TABLE, wear(ROWS), metadata={"test_mae": 1.5})

    model = loaded(directory)
    rows = features(model, TABLE)

    assert (model.task, model.error_band, model.classes) == (Task.REGRESSION, 1.5, ())
    np.testing.assert_array_equal(model.predict(rows).value, regressor.predict(TABLE).astype(float))
    found = model.contributions(rows)
    assert found is not None
    np.testing.assert_allclose(found.parts.sum(axis=1) + found.bias, model.predict(rows).value, rtol=1e-4)


def test_any_column_may_be_missing_an_integer_one_too(tmp_path: Path) -> None:
    gaps = TABLE.astype(float).mask(np.random.default_rng(3).random(TABLE.shape) < 0.3)
    classifier = xgboost.XGBClassifier(n_estimators=5).fit(gaps, leaks(ROWS))

    model = loaded(saved(mlflow.xgboost, classifier, tmp_path / "m", TABLE, leaks(ROWS)))

    assert [(each.type, each.required) for each in model.inputs] == [("double", False)] * 2 + [("long", False)]
    np.testing.assert_array_equal(
        model.predict(features(model, gaps)).value, classifier.predict_proba(gaps)[:, 1].astype(float)
    )


def test_columns_go_by_name_where_the_signature_has_another_order(tmp_path: Path) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=5).fit(TABLE, leaks(ROWS))

    model = loaded(saved(mlflow.xgboost, classifier, tmp_path / "m", TABLE[COLUMNS[::-1]], leaks(ROWS)))

    assert model.numeric == tuple(COLUMNS)


def test_early_stopping_ends_where_xgboost_ends(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 2, len(ROWS))
    classifier = xgboost.XGBClassifier(n_estimators=50, early_stopping_rounds=3)
    classifier.fit(TABLE, leaks(ROWS), eval_set=[(TABLE, noise)], verbose=False)
    assert classifier.best_iteration < classifier.get_booster().num_boosted_rounds() - 1

    model = loaded(saved(mlflow.xgboost, classifier, tmp_path / "m", TABLE, leaks(ROWS)))

    np.testing.assert_array_equal(
        model.predict(features(model, TABLE)).value, classifier.predict_proba(TABLE)[:, 1].astype(float)
    )


@pytest.mark.parametrize("model_format", ["json", "ubj"])
def test_both_formats_of_xgboost_are_read(tmp_path: Path, model_format: str) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=2).fit(TABLE, leaks(ROWS))
    directory = saved(mlflow.xgboost, classifier, tmp_path / "m", TABLE, leaks(ROWS), model_format=model_format)
    assert loaded(directory).task is Task.BINARY


def booster_of(objective: str, **parameters: object) -> xgboost.Booster:
    matrix = xgboost.DMatrix(TABLE, leaks(ROWS))
    return xgboost.train({"objective": objective, **parameters}, matrix, 2)


@pytest.mark.parametrize("objective", ["binary:logitraw", "binary:hinge", "rank:pairwise"])
def test_an_objective_without_a_probability_or_a_value_is_refused(tmp_path: Path, objective: str) -> None:
    directory = saved(mlflow.xgboost, booster_of(objective), tmp_path / "m", TABLE, leaks(ROWS))
    with pytest.raises(PackageError, match=f"{objective} gives neither .* train it with") as caught:
        loaded(directory)
    assert caught.value.fault == "wrong_output"


@pytest.mark.parametrize(
    ("renamed", "text"),
    [
        ({"flow": "stream"}, "takes flow, which the signature does not have"),
        ({}, "signature has more, which the model does not take"),
    ],
)
def test_a_signature_of_other_columns_is_refused(tmp_path: Path, renamed: dict[str, str], text: str) -> None:
    rows = TABLE.rename(columns=renamed) if renamed else TABLE.assign(more=1.0)
    directory = saved(mlflow.xgboost, booster_of("binary:logistic"), tmp_path / "m", rows, leaks(ROWS))
    with pytest.raises(PackageError, match=text) as caught:
        loaded(directory)
    assert caught.value.fault == "wrong_signature"


def test_texts_are_refused_for_a_booster_takes_numbers(tmp_path: Path) -> None:
    rows = pd.concat((TABLE, ROWS.site), axis=1)
    directory = saved(mlflow.xgboost, booster_of("binary:logistic"), tmp_path / "m", rows, leaks(ROWS))
    with pytest.raises(PackageError, match="site are texts, and an XGBoost model takes numbers"):
        loaded(directory)


def test_a_linear_booster_is_refused(tmp_path: Path) -> None:
    booster = booster_of("reg:squarederror", booster="gblinear")
    with pytest.raises(PackageError, match="gblinear, which cannot handle missing values"):
        loaded(saved(mlflow.xgboost, booster, tmp_path / "m", TABLE, leaks(ROWS)))


def test_a_damaged_booster_is_refused(tmp_path: Path) -> None:
    directory = saved(mlflow.xgboost, booster_of("binary:logistic"), tmp_path / "m", TABLE, leaks(ROWS))
    (directory / "model.ubj").write_bytes(b"{nonsense")
    with pytest.raises(PackageError, match="XGBoost cannot read it") as caught:
        loaded(directory)
    assert caught.value.fault == "bad_booster"


def test_another_task_than_the_pipelines_is_refused(tmp_path: Path) -> None:
    directory = saved(mlflow.xgboost, booster_of("binary:logistic"), tmp_path / "m", TABLE, leaks(ROWS))
    with pytest.raises(PackageError, match=r"is a binary model, and .* say regression; correct `task`"):
        loaded(directory, task=Task.REGRESSION)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"threshold": 3}, "metadata: threshold"),
        ({"task": "guess"}, "metadata: task"),
        ({"classes": ["one", "two", "three"]}, "has 2 classes, and its metadata names one, two, three"),
        ({"classes": ["one", "one"]}, "has 2 classes"),
    ],
)
def test_metadata_that_cannot_be_is_refused(tmp_path: Path, metadata: dict[str, object], text: str) -> None:
    directory = saved(mlflow.xgboost, booster_of("binary:logistic"), tmp_path / "m", TABLE, [1], metadata=metadata)
    with pytest.raises(PackageError, match=text):
        loaded(directory)
