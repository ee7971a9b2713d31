"""The classical layout of a run: `tuned_xgboost_model/`, and the scaler of its columns beside it."""

import pickle
from pathlib import Path

import joblib
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from tests.plain_models import NUMBERS, features, leaks, loaded, pump_rows
from worker.model.contract import Task
from worker.model.model_files import TUNED_MODEL, TUNED_SCALER
from worker.model.package_files import PackageError

ROWS = pump_rows()
TABLE = ROWS[NUMBERS]


def laid_out(run: Path, scaler: object, rows: object) -> tuple[Path, xgboost.XGBClassifier]:
    """What such a training script logs: a model without a signature, its scaler, and other artifacts."""
    classifier = xgboost.XGBClassifier(n_estimators=5).fit(rows, leaks(ROWS))
    run.mkdir(parents=True)
    mlflow.xgboost.save_model(classifier, str(run / TUNED_MODEL), pip_requirements=["mlflow"])
    joblib.dump(scaler, run / TUNED_SCALER)
    (run / "confusion_matrix.png").write_bytes(b"a figure")
    return run, classifier


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler()], ids=str)
def test_columns_have_the_names_that_the_scaler_was_fitted_on(tmp_path: Path, scaler: StandardScaler) -> None:
    scaled = scaler.fit_transform(TABLE)
    run, classifier = laid_out(tmp_path / "run", scaler, scaled)

    model = loaded(run)

    assert (model.task, model.numeric) == (Task.BINARY, tuple(NUMBERS))
    np.testing.assert_array_equal(
        model.predict(features(model, TABLE)).value, classifier.predict_proba(scaled)[:, 1].astype(float)
    )


def test_without_a_scaler_the_booster_names_its_columns(tmp_path: Path) -> None:
    run, classifier = laid_out(tmp_path / "run", None, TABLE)
    (run / TUNED_SCALER).unlink()

    model = loaded(run)

    np.testing.assert_array_equal(
        model.predict(features(model, TABLE)).value, classifier.predict_proba(TABLE)[:, 1].astype(float)
    )


def test_a_model_without_any_names_is_refused(tmp_path: Path) -> None:
    scaler = StandardScaler()
    run, _ = laid_out(tmp_path / "run", scaler, scaler.fit_transform(TABLE.to_numpy()))
    with pytest.raises(PackageError, match="neither a signature nor names of its columns") as caught:
        loaded(run)
    assert caught.value.fault == "wrong_signature"


def test_a_scaler_of_other_columns_is_refused(tmp_path: Path) -> None:
    scaler = StandardScaler().fit(TABLE[NUMBERS[::-1]])
    scaled = pd.DataFrame(StandardScaler().fit_transform(TABLE), columns=NUMBERS)
    run, _ = laid_out(tmp_path / "run", scaler, scaled)
    with pytest.raises(
        PackageError, match="has the columns in the order flow, pressure, and the booster pressure, flow"
    ):
        loaded(run)


def test_a_scaler_that_is_code_is_refused_without_running_it(tmp_path: Path) -> None:
    run, _ = laid_out(tmp_path / "run", FunctionTransformer(np.log1p).fit(TABLE), TABLE)
    with pytest.raises(PackageError, match="only the numbers of scikit-learn's StandardScaler") as caught:
        loaded(run)
    assert caught.value.fault == "bad_scaler"


class Runs:
    """Pickled code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_code_among_the_names_of_columns_does_not_run(tmp_path: Path) -> None:
    scaler = StandardScaler().fit(TABLE)
    scaler.feature_names_in_ = np.array([Runs(tmp_path / "trace"), "flow"], dtype=object)
    run, _ = laid_out(tmp_path / "run", scaler, TABLE)
    with pytest.raises(PackageError, match="only the numbers of"):
        loaded(run)
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(scaler))  # noqa: S301 - shows that it would run
    assert (tmp_path / "trace").exists()
