"""The optional scaler of a model package: a few numbers per feature, applied as scikit-learn's scalers apply them.

Last, it can put numbers in for missing values.

Reading scaler.json runs no code. Packages of format 1 hold a pickle instead: see worker/model/pickled_scaler.py.
"""

from collections.abc import Callable, Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from common.arrays import Float

Scale = Callable[[Float], Float]
"""Gives features [n, f] scaled, as the booster was trained on them. Does not change its argument."""


class Scaler(BaseModel):
    """The steps applied to each feature, in this order. The result equals scikit-learn's `transform` bit for bit.

    Attributes:
        subtract, divide, multiply, add: one number per feature; None: the step is left out.
        clip: smallest and largest value of the result; None: no clipping.
        missing: one number per feature, which the booster gets, as it is, where the feature is missing; None: it gets
            a missing value, and each of its splits decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subtract: tuple[FiniteFloat, ...] | None = None
    divide: tuple[FiniteFloat, ...] | None = None
    multiply: tuple[FiniteFloat, ...] | None = None
    add: tuple[FiniteFloat, ...] | None = None
    clip: tuple[FiniteFloat, FiniteFloat] | None = None
    missing: tuple[FiniteFloat, ...] | None = None

    def scale(self, features: int) -> Scale:
        """The function that scales rows of `features` columns.

        Raises:
            ValueError: a step has numbers for more or fewer features, or divides by zero.
        """
        steps = [(name, getattr(self, name)) for name in ("subtract", "divide", "multiply", "add")]
        for name, numbers in [*steps, ("missing", self.missing)]:
            if numbers is not None and len(numbers) != features:
                raise ValueError(f"{name} has {len(numbers)} numbers for {features} features")
        if self.divide is not None and 0.0 in self.divide:
            raise ValueError(f"feature {self.divide.index(0.0)} would be divided by zero")
        missing = None if self.missing is None else np.array(self.missing, np.float64)
        return _Scale({n: np.array(v, np.float64) for n, v in steps if v is not None}, self.clip, missing)


class _Scale:
    """A function that can be pickled, so that a loaded package can be sent to another process."""

    _OPERATIONS: Mapping[str, Callable[..., Float]] = {
        "subtract": np.subtract,
        "divide": np.divide,
        "multiply": np.multiply,
        "add": np.add,
    }

    def __init__(self, steps: dict[str, Float], clip: tuple[float, float] | None, missing: Float | None) -> None:
        self._steps, self._clip, self._missing = steps, clip, missing

    def __call__(self, features: Float) -> Float:
        for name, numbers in self._steps.items():
            features = self._OPERATIONS[name](features, numbers)
        if self._clip is not None:
            features = np.clip(features, *self._clip)
        return features if self._missing is None else np.where(np.isnan(features), self._missing, features)


def read_scaler(content: bytes, features: int) -> Scale:
    """Read scaler.json.

    Args:
        content: of the file.
        features: number of columns that it has to scale.

    Raises:
        ValueError: it is not a scaler for that many columns.
    """
    return Scaler.model_validate_json(content).scale(features)
