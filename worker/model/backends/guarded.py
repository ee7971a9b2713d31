"""Calls a model so that nothing it does to its process reaches the engine."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from worker.model.contract import Features

_Given = TypeVar("_Given")


def guarded(call: Callable[[Features], _Given]) -> Callable[[Features], _Given]:
    """The same function of a model; it raises nothing but an `Exception`, and keeps NumPy's and Python's settings."""

    def called(features: Features) -> _Given:
        with np.errstate(), _same_warnings():
            try:
                return call(features)
            except Exception:
                raise
            except BaseException as error:  # sys.exit, or a panic of a library in Rust
                raise RuntimeError(f"it raises {type(error).__name__}: {error}") from error

    return called


@contextmanager
def _same_warnings() -> Iterator[None]:
    # Not `warnings.catch_warnings`: that prints each warning again after each call, and threads that use it at once
    # may leave wrong filters behind.
    before = list(warnings.filters)
    try:
        yield
    finally:
        if warnings.filters != before:
            warnings.resetwarnings()
            warnings.filters[:] = before  # type: ignore[index]  # typeshed says Sequence; it is a list
