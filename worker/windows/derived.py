"""Features that are computed from other features of the same reading."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.arrays import Float


class _Derived(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str


class WeightedSum(_Derived):
    """Features times weights, plus a constant; missing if one of them is.

    It is the difference of two fields, the change of a rate (over a short span less over a long one), or how far a
    value is from what others explain.

    Attributes:
        weights: by the name of the feature.
        constant: added to them.
    """

    kind: Literal["sum"] = "sum"
    weights: Annotated[dict[str, float], Field(min_length=1)]
    constant: float = 0.0

    @property
    def of(self) -> tuple[str, ...]:
        """Features that it is computed from."""
        return tuple(self.weights)

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        out = np.full(len(columns[0]), self.constant)
        for weight, column in zip(self.weights.values(), columns, strict=True):
            out += weight * column
        return out


class Greatest(_Derived):
    """The greatest of some features that are not missing, so that they stand in for each other."""

    kind: Literal["greatest"] = "greatest"
    of: Annotated[tuple[str, ...], Field(min_length=1)]

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        out = columns[0]
        for column in columns[1:]:
            out = np.fmax(out, column)
        # Which of 0.0 and -0.0 is the greater is not defined.
        return out + 0.0


class Least(_Derived):
    """The least of some features that are not missing, so that they stand in for each other."""

    kind: Literal["least"] = "least"
    of: Annotated[tuple[str, ...], Field(min_length=1)]

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        out = columns[0]
        for column in columns[1:]:
            out = np.fmin(out, column)
        return out + 0.0  # as `Greatest`


class Limited(_Derived):
    """A feature, or the limit that it is beyond.

    Attributes:
        feature: its name.
        low: the least that it is; None: it has no lower limit.
        high: the most that it is; None: it has no upper limit.
    """

    kind: Literal["limited"] = "limited"
    feature: str
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Limited":
        if self.low is None and self.high is None:
            raise ValueError(f"{self.name} has no limit: give it low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: low {self.low} is above high {self.high}")
        return self

    @property
    def of(self) -> tuple[str, ...]:
        """Features that it is computed from."""
        return (self.feature,)

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        return np.clip(columns[0], self.low, self.high) + 0.0  # as `Greatest`


class Gated(_Derived):
    """A feature where another one is high enough, else 0; missing if one of the two is.

    Attributes:
        feature: its name.
        where: name of the other.
        at_least: from here up, the other is high enough.
    """

    kind: Literal["gated"] = "gated"
    feature: str
    where: str
    at_least: float

    @property
    def of(self) -> tuple[str, ...]:
        """Features that it is computed from."""
        return (self.feature, self.where)

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        value, where = columns
        out = np.where(where >= self.at_least, value, 0.0)
        out[np.isnan(value) | np.isnan(where)] = np.nan
        return out


class AtEndOfRange(_Derived):
    """Whether a feature is at an end of what its sensor can show: 1 at the upper end, -1 at the lower one, else 0.

    Attributes:
        feature: its name.
        low: from here down, it is at the lower end; None: it has none.
        high: from here up, it is at the upper end; None: it has none.
    """

    kind: Literal["at_end_of_range"] = "at_end_of_range"
    feature: str
    low: float | None = None
    high: float | None = None

    @property
    def of(self) -> tuple[str, ...]:
        """Features that it is computed from."""
        return (self.feature,)

    def compute(self, columns: Sequence[Float]) -> Float:
        """Its values, shape [n], from those of the features `of`."""
        (value,) = columns
        out = np.where(np.isnan(value), np.nan, 0.0)
        if self.low is not None:
            out[value <= self.low] = -1.0
        if self.high is not None:
            out[value >= self.high] = 1.0
        return out


Derived = Annotated[WeightedSum | Greatest | Least | Limited | Gated | AtEndOfRange, Field(discriminator="kind")]


def derived_features(derived: Sequence[Derived], names: Sequence[str], features: Float) -> Float:
    """Features with derived ones behind them, shape [n, f + derived]; each can use those before it.

    Args:
        derived: what is computed.
        names: of all columns.
        features: shape [n, f].
    """
    columns = [*features.T]
    places = {name: at for at, name in reversed(list(enumerate(names)))}
    for each in derived:
        columns.append(each.compute([columns[places[name]] for name in each.of]))
    return np.stack(columns, axis=1)
