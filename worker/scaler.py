"""The scaler in front of the trees, read and applied without scikit-learn where it is the plain one.

Importing scikit-learn takes longer than all else of a worker's start, and its checks of each batch longer than the
arithmetic.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler
from numpy._core import multiarray as _multiarray

from worker.features import Float

Scale = Callable[[Float], Float]
"""Features [n, f] as the trees want them. The rows given stay as they are."""


class _StandardScaler:
    """What the state of scikit-learn's is put into. Its `transform`, to the bit."""

    mean_: Float | None
    scale_: Float | None

    def transform(self, features: Float) -> Float:
        scaled = features if self.mean_ is None else features - self.mean_
        return scaled if self.scale_ is None else scaled / self.scale_

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Without the flags it is a state of this class: a package that goes to another process.
        self.mean_ = state["mean_"] if state.get("with_mean", True) else None
        self.scale_ = state["scale_"] if state.get("with_std", True) else None


class _PlainUnpickler(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
    """Knows one class and what its arrays are made of."""

    _KNOWN = {  # noqa: RUF012 - never changed
        ("sklearn.preprocessing._data", "StandardScaler"): _StandardScaler,
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): NumpyArrayWrapper,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy._core.multiarray", "scalar"): _multiarray.scalar,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._KNOWN[module, name]


def read_scaler(file: Path) -> Scale:
    """Read a scaler that was written with joblib.

    Raises:
        Exception: whatever the pickled code does.
    """
    try:
        with file.open("rb") as opened:
            scaler = _PlainUnpickler(file.name, opened, ensure_native_byte_order=False).load()
    except Exception:  # noqa: BLE001 - another scaler, or none: scikit-learn has the last word
        scaler = joblib.load(file)
    return scaler.transform  # type: ignore[no-any-return]  # a scaler's own type
