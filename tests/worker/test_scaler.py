"""The model's scaler does what scikit-learn's does, and a worker starts without scikit-learn."""

import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import RobustScaler, StandardScaler

from worker.features import Float
from worker.scaler import read_scaler

_CELLS = st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))
_ROWS = arrays(np.float64, st.tuples(st.integers(2, 20), st.just(3)), elements=_CELLS)


@given(fitted=_ROWS, rows=_ROWS, with_mean=st.booleans(), with_std=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_it_gives_the_same_bits(tmp_path: Path, fitted: Float, rows: Float, *, with_mean: bool, with_std: bool) -> None:
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std).fit(np.vstack((fitted, np.zeros(3))))
    joblib.dump(scaler, tmp_path / "scaler.joblib")
    expected, before = scaler.transform(rows), rows.copy()
    np.testing.assert_array_equal(read_scaler(tmp_path / "scaler.joblib")(rows), expected)
    np.testing.assert_array_equal(rows, before)


def test_it_goes_to_another_process_and_is_the_same_there(model_package: Path) -> None:
    scale = read_scaler(model_package / "scaler.joblib")
    rows = np.random.default_rng(1).normal(size=(5, 30))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scale))(rows), scale(rows))  # noqa: S301 - our own


@pytest.mark.parametrize("kind", [RobustScaler, StandardScaler])
@pytest.mark.parametrize("compress", [0, 3])
def test_any_other_scaler_is_scikit_learns_own(tmp_path: Path, kind: type, compress: int) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 3))
    joblib.dump(kind().fit(rows), tmp_path / "scaler.joblib", compress=compress)
    np.testing.assert_array_equal(read_scaler(tmp_path / "scaler.joblib")(rows), kind().fit_transform(rows))


def test_a_worker_loads_its_model_without_scikit_learn(model_package: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import worker.run; from worker.package import load_package; "
        f"load_package(Path({str(model_package)!r}), version='1'); "
        "print([name for name in ('sklearn', 'pandas', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
