"""Scalers that joblib wrote: a pickle, of which only the numbers and the names of the columns are read.

Only packages of format 1 and the classical layout of a run import this module. A restricted unpickler knows four
classes of scikit-learn, takes the numbers out of them, and refuses everything else that a pickle can name.
"""

import io
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler
from numpy._core import multiarray

from worker.model.scaler import Scale, Scaler

_UNPACKED_MAX_BYTES = 1 << 26


class UntrustedScalerError(Exception):
    """A pickle that names something other than the numbers of a scaler: reading it would run code."""


def read_pickled_scaler(content: bytes) -> Scaler:
    """The numbers of a scaler that was written with joblib. No code of the pickle runs.

    Raises:
        UntrustedScalerError: it is not one of scikit-learn's StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler.
        Exception: it cannot be read.
    """
    return _load(content).scaler()


def read_named_scaler(content: bytes) -> tuple[Scaler, int, list[str]]:
    """As `read_pickled_scaler`; also the number of its columns, and their names, if it was fitted on a DataFrame."""
    read = _load(content)
    names = np.asarray(read.state.get("feature_names_in_", ())).tolist()
    return read.scaler(), int(read.state["n_features_in_"]), [str(name) for name in names]


def trusted_scaler(content: bytes) -> Scale:
    """The scaler in a joblib file. Loading runs code of the pickle: call this only if the settings trust the package.

    Raises:
        Exception: that code failed.
    """
    return joblib.load(io.BytesIO(content)).transform  # type: ignore[no-any-return]  # a scaler's own type


def _load(content: bytes) -> "_State":
    read = _Unpickler("scaler", io.BytesIO(_unpacked(content)), ensure_native_byte_order=False).load()
    if not isinstance(read, _State):
        raise UntrustedScalerError(f"a {type(read).__name__}")
    return read


def _unpacked(content: bytes) -> bytes:
    """The pickle, decompressed if joblib compressed it; at most `_UNPACKED_MAX_BYTES`."""
    if content[:1] != b"\x80":  # the first byte of a pickle
        unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip
        content = unpacker.decompress(content, _UNPACKED_MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise pickle.UnpicklingError(f"it unpacks to more than {_UNPACKED_MAX_BYTES} bytes")
    return content


class _State:
    """Stands in for a scaler class of scikit-learn: unpickling stores its attributes here."""

    state: Mapping[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def scaler(self) -> Scaler:
        """The numbers in it."""
        raise NotImplementedError

    def _numbers(self, name: str, flag: str | None = None) -> tuple[float, ...] | None:
        if flag is not None and not self.state[flag]:
            return None
        return tuple(np.asarray(self.state[name], np.float64).tolist())


class _StandardScaler(_State):
    def scaler(self) -> Scaler:
        return Scaler(subtract=self._numbers("mean_", "with_mean"), divide=self._numbers("scale_", "with_std"))


class _RobustScaler(_State):
    def scaler(self) -> Scaler:
        return Scaler(
            subtract=self._numbers("center_", "with_centering"), divide=self._numbers("scale_", "with_scaling")
        )


class _MinMaxScaler(_State):
    def scaler(self) -> Scaler:
        clip = tuple(map(float, self.state["feature_range"])) if self.state["clip"] else None
        return Scaler(multiply=self._numbers("scale_"), add=self._numbers("min_"), clip=clip)


class _MaxAbsScaler(_State):
    def scaler(self) -> Scaler:
        return Scaler(divide=self._numbers("scale_"), clip=(-1.0, 1.0) if self.state.get("clip") else None)


class _Names(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # writes bytes in the older pickles that joblib makes here
            return _latin1
        if (module, name) not in _ARRAYS:
            raise UntrustedScalerError(f"{module}.{name}")
        return _ARRAYS[module, name]


def _latin1(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


class _NumberArray(NumpyArrayWrapper):  # type: ignore[misc]  # joblib has no types
    def read_array(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:  # names of columns; joblib would read them with an unrestricted unpickler
            return _Names(unpickler.file_handle).load()
        return super().read_array(unpickler, ensure_native_byte_order)


_ARRAYS: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): getattr(multiarray, name)  # the names in NumPy's own pickles, old and new
        for core in ("_core", "core")
        for name in ("scalar", "_reconstruct")
    },
}
_ALLOWED: Mapping[tuple[str, str], Any] = {
    **_ARRAYS,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _NumberArray,
    ("builtins", "slice"): slice,
    **{
        (f"sklearn.preprocessing.{module}", kind.__name__.removeprefix("_")): kind
        for module in ("_data", "data")
        for kind in (_StandardScaler, _RobustScaler, _MinMaxScaler, _MaxAbsScaler)
    },
}


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UntrustedScalerError(f"{module}.{name}")
        return _ALLOWED[module, name]
