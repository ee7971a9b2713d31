"""The scaler in front of the trees: a few numbers for each feature, and the arithmetic of scikit-learn's own scalers.

Reading one runs no code. Older packages hold a pickle; a reader that knows four classes of scikit-learn takes their
numbers out of it, and refuses everything else that a pickle can name.
"""

import io
import pickle
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from common.arrays import Float

Scale = Callable[[Float], Float]
"""Features [n, f] as the trees want them. The rows given stay as they are."""

_MODULES = {"sklearn.preprocessing._data", "sklearn.preprocessing.data"}
_UNPACKED_MAX_BYTES = 1 << 26


class UntrustedScalerError(Exception):
    """A pickle that names something other than the numbers of a scaler: reading it would run code."""


class Scaler(BaseModel):
    """What is done to each feature, in this order. Calling it gives scikit-learn's `transform`, to the bit.

    Attributes:
        subtract, divide, multiply, add: one number for each feature; None: nothing is done.
        clip: smallest and largest value of the result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subtract: tuple[FiniteFloat, ...] | None = None
    divide: tuple[FiniteFloat, ...] | None = None
    multiply: tuple[FiniteFloat, ...] | None = None
    add: tuple[FiniteFloat, ...] | None = None
    clip: tuple[FiniteFloat, FiniteFloat] | None = None

    def scale(self, features: int) -> Scale:
        """The function that scales rows of `features` columns.

        Raises:
            ValueError: there are numbers for more or fewer features, or one would divide by zero.
        """
        steps = [(name, getattr(self, name)) for name in ("subtract", "divide", "multiply", "add")]
        for name, numbers in steps:
            if numbers is not None and len(numbers) != features:
                raise ValueError(f"{name} has {len(numbers)} numbers for {features} features")
        if self.divide is not None and 0.0 in self.divide:
            raise ValueError(f"feature {self.divide.index(0.0)} would be divided by zero")
        return _Scale({n: np.array(v, np.float64) for n, v in steps if v is not None}, self.clip)


class _Scale:
    """A function that goes to another process."""

    _DO: Mapping[str, Callable[..., Float]] = {
        "subtract": np.subtract,
        "divide": np.divide,
        "multiply": np.multiply,
        "add": np.add,
    }

    def __init__(self, steps: dict[str, Float], clip: tuple[float, float] | None) -> None:
        self._steps, self._clip = steps, clip

    def __call__(self, features: Float) -> Float:
        for name, numbers in self._steps.items():
            features = self._DO[name](features, numbers)
        return features if self._clip is None else np.clip(features, *self._clip)


def read_scaler(content: bytes, features: int) -> Scale:
    """The scaler in the bytes of scaler.json.

    Raises:
        ValueError: they hold none for `features` columns.
    """
    return Scaler.model_validate_json(content).scale(features)


def read_pickled_scaler(content: bytes) -> Scaler:
    """The numbers of a scaler that was written with joblib. No code of the pickle runs.

    Raises:
        UntrustedScalerError: it is not one of scikit-learn's StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler.
        Exception: it cannot be read.
    """
    # It takes a while, and newer packages do without.
    from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler  # noqa: PLC0415
    from numpy._core import multiarray  # noqa: PLC0415

    class Numbers(NumpyArrayWrapper):  # type: ignore[misc]  # joblib has no types
        def read_array(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
            if self.dtype.hasobject:  # joblib would hand them to the ordinary reader
                raise UntrustedScalerError("an array of objects")
            return super().read_array(unpickler, ensure_native_byte_order)

    known: dict[tuple[str, str], Any] = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): Numbers,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("builtins", "slice"): slice,
    }
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        known[module, "scalar"] = multiarray.scalar
        known[module, "_reconstruct"] = multiarray._reconstruct  # noqa: SLF001 - what NumPy's own pickles name
    known |= {(module, name): kind for module in _MODULES for name, kind in _KINDS.items()}

    class Reader(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in known:
                raise UntrustedScalerError(f"{module}.{name}")
            return known[module, name]

    read = Reader("scaler", io.BytesIO(_unpacked(content)), ensure_native_byte_order=False).load()
    if not isinstance(read, _State):
        raise UntrustedScalerError(f"a {type(read).__name__}")
    return read.scaler()


def trusted_scaler(content: bytes) -> Scale:
    """The scaler in a joblib file. Loading runs code of the pickle: call it only if the settings trust the package.

    Raises:
        Exception: whatever that code raises.
    """
    import joblib  # noqa: PLC0415 - it takes a while

    return joblib.load(io.BytesIO(content)).transform  # type: ignore[no-any-return]  # a scaler's own type


def _unpacked(content: bytes) -> bytes:
    """The pickle, which joblib may have compressed; never more than `_UNPACKED_MAX_BYTES`."""
    if content[:1] != b"\x80":  # how a pickle begins
        unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip
        content = unpacker.decompress(content, _UNPACKED_MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise pickle.UnpicklingError(f"unpacked it has more than {_UNPACKED_MAX_BYTES} bytes")
    return content


class _State:
    """What the attributes of one of scikit-learn's scalers are put into."""

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


_KINDS = {
    kind.__name__.removeprefix("_"): kind for kind in (_StandardScaler, _RobustScaler, _MinMaxScaler, _MaxAbsScaler)
}
