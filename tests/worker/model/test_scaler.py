"""The model's scaler does what scikit-learn's does, and a worker starts without scikit-learn."""

import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from common.arrays import Float
from tests.models import without_scaler
from worker.model.package_files import SCALER
from worker.model.pickled_scaler import UntrustedScalerError, read_pickled_scaler
from worker.model.scaler import read_scaler

_CELLS = st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))
_ROWS = arrays(np.float64, st.tuples(st.integers(2, 20), st.just(3)), elements=_CELLS)


@given(fitted=_ROWS, rows=_ROWS, with_mean=st.booleans(), with_std=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_it_gives_the_same_bits(tmp_path: Path, fitted: Float, rows: Float, *, with_mean: bool, with_std: bool) -> None:
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std).fit(np.vstack((fitted, np.zeros(3))))
    joblib.dump(scaler, tmp_path / "scaler.joblib")
    expected, before = scaler.transform(rows), rows.copy()
    numbers = read_pickled_scaler((tmp_path / "scaler.joblib").read_bytes())
    written = numbers.model_dump_json().encode()
    np.testing.assert_array_equal(numbers.scale(3)(rows), expected)
    np.testing.assert_array_equal(read_scaler(written, 3)(rows), expected)
    np.testing.assert_array_equal(rows, before)


def test_for_what_is_missing_it_puts_in_a_number_that_is_neither_scaled_nor_clipped() -> None:
    rows = np.array([[1.0, np.nan, 30.0], [np.nan, 20.0, np.nan]])
    scale = read_scaler(b'{"subtract": [1, 2, 3], "clip": [0, 9], "missing": [-1e6, 1e6, -1e6]}', 3)
    np.testing.assert_array_equal(scale(rows), [[0, 1e6, 9], [-1e6, 9, -1e6]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scale))(rows), scale(rows))  # noqa: S301 - our own
    np.testing.assert_array_equal(rows, [[1.0, np.nan, 30.0], [np.nan, 20.0, np.nan]])


def test_it_goes_to_another_process_and_is_the_same_there(model_package: Path) -> None:
    scale = read_scaler((model_package / SCALER).read_bytes(), 30)
    rows = np.random.default_rng(1).normal(size=(5, 30))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scale))(rows), scale(rows))  # noqa: S301 - our own


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False),
        MinMaxScaler((-2, 3)),
        MinMaxScaler(clip=True),
        MaxAbsScaler(),
    ],
    ids=str,
)
@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_of_a_pickle_only_the_numbers_are_read(tmp_path: Path, scaler: Any, compress: Any) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 3))
    other = 3 * np.random.default_rng(2).normal(size=(50, 3))
    joblib.dump(scaler.fit(rows), tmp_path / "scaler.joblib", compress=compress)
    numbers = read_pickled_scaler((tmp_path / "scaler.joblib").read_bytes())
    np.testing.assert_array_equal(numbers.scale(3)(other), scaler.transform(other))


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def scaler_with(mean: Any) -> StandardScaler:
    scaler = StandardScaler().fit(np.eye(3))
    scaler.mean_ = mean
    return scaler


@pytest.mark.parametrize(
    "hidden",
    [
        lambda touch: touch,
        scaler_with,
        lambda touch: scaler_with(np.array([touch], dtype=object)),
        lambda touch: scaler_with(np.array([(touch, 1.0)], dtype=[("a", object), ("b", float)])),
        lambda touch: make_pipeline(StandardScaler().fit(np.eye(3)), FunctionTransformer(kw_args={"a": touch})),
    ],
)
@pytest.mark.parametrize("compress", [0, 3])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, hidden: Any, compress: int) -> None:
    trace = tmp_path / "trace"
    joblib.dump(hidden(Touch(trace)), tmp_path / "scaler.joblib", compress=compress)
    with pytest.raises(UntrustedScalerError):
        read_pickled_scaler((tmp_path / "scaler.joblib").read_bytes())
    assert not trace.exists()


@pytest.mark.slow  # unpacks gigabytes
def test_a_pickle_that_unpacks_to_gigabytes_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="it unpacks to more than"):
        read_pickled_scaler(zlib.compress(bytes(1 << 27)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"divide": [1, 0, 1]}', "feature 1 would be divided by zero"),
        (b'{"divide": [1, 1]}', "2 numbers for 3 features"),
        (b'{"divide": [1, NaN, 1]}', "finite"),
        (b'{"divide": [1, 1e999, 1]}', "finite"),
        (b'{"subtract": ["a", 1, 1]}', "number"),
        (b'{"missing": [0, 0]}', "2 numbers for 3 features"),
        (b'{"missing": [0, 0, NaN]}', "finite"),
        (b'{"module": "os"}', "Extra inputs"),
        (b"not json", "JSON"),
    ],
)
def test_what_is_no_scaler_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_scaler(content, 3)


@pytest.mark.slow  # a process of its own
@pytest.mark.parametrize("scaler", [True, False], ids=["scaler", "no scaler"])
def test_a_worker_loads_its_model_without_scikit_learn_and_without_the_unpickler(
    model_package: Path, tmp_path: Path, *, scaler: bool
) -> None:
    package = model_package if scaler else without_scaler(model_package, tmp_path / "package")
    unwanted = ("sklearn", "pandas", "scipy.stats", "joblib", "worker.model.pickled_scaler")
    code = (
        "import sys; from pathlib import Path; import worker.app; from worker.model.package import load_package; "
        f"load_package(Path({str(package)!r}), version='1'); "
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
