"""What a model can judge, as its package declares it: values that it needs, and ranges that it was trained for.

A reading outside of them still gets a prediction, for diagnosis. It carries the reason, and raises no alarm by it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.arrays import Bool, Float, Int

ASSESSABLE = "assessable.json"
Features = Annotated[tuple[str, ...], Field(min_length=1)]
Limits = tuple[float | None, float | None]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gap(_Part):
    """How far apart the values of a sensor may be: at least one of these features is not above a limit, or missing.

    Attributes:
        any_of: features of the kind `gap`, in seconds.
        at_most_s: the limit.
    """

    any_of: Features
    at_most_s: Annotated[float, Field(gt=0)]


class Range(_Part):
    """Where a feature lies, both ends included, if it is not missing. A null end has no limit.

    Attributes:
        feature: an input of the model, as the model gets it.
        limits: least and greatest value, for all keys.
        by: the text of the topology that the limits depend on, instead.
        cases: by value of that text, least and greatest value.
        default: the case of keys whose topology does not say the text.
    """

    feature: str
    limits: Limits | None = None
    by: str | None = None
    cases: dict[str, Limits] = {}
    default: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Range":
        if (self.limits is None) == (self.by is None) or bool(self.cases) != (self.by is not None):
            raise ValueError(f"{self.feature}: give it limits, or by and cases")
        if self.default is not None and self.default not in self.cases:
            raise ValueError(f"{self.feature}: there is no case {self.default!r}; name one of {', '.join(self.cases)}")
        for low, high in (*self.cases.values(), *([self.limits] if self.limits else [])):
            if low is not None and high is not None and low > high:
                raise ValueError(f"{self.feature}: low {low} is above high {high}")
        return self

    def limits_of(self, texts: Mapping[str, str]) -> tuple[float, float]:
        """Least and greatest value of a key with these texts in its topology.

        Raises:
            KeyError: the topology says no such text, or one without a case.
        """
        limits = self.limits
        if self.by is not None:
            limits = self.cases[texts.get(self.by, self.default or "")]
        low, high = limits or (None, None)
        return (-np.inf if low is None else low), (np.inf if high is None else high)


class Assessable(_Part):
    """What a model can judge. Of several reasons why it cannot, the first counts, in the order of the attributes.

    Attributes:
        needs: sets of features; of each, at least one is not missing.
        gaps: see there.
        ranges: see there.
    """

    needs: tuple[Features, ...] = ()
    gaps: tuple[Gap, ...] = ()
    ranges: tuple[Range, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> "Assessable":
        if not (self.needs or self.gaps or self.ranges):
            raise ValueError("it says nothing; give needs, gaps or ranges, or leave the file out")
        return self

    @property
    def features(self) -> set[str]:
        """The features that it names."""
        lists = [*self.needs, *(gap.any_of for gap in self.gaps)]
        return {name for names in lists for name in names} | {each.feature for each in self.ranges}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a reading is not assessable, by number less one of `first_reason`."""
        return (
            *(f"no value: {', '.join(names)}" for names in self.needs),
            *(f"values too far apart: {', '.join(gap.any_of)}" for gap in self.gaps),
            *(f"out of range: {each.feature}" for each in self.ranges),
        )

    def limits(self, texts: Mapping[str, str]) -> Float:
        """Least and greatest value of each of `ranges` for a key with these texts in its topology, shape [ranges, 2].

        Raises:
            KeyError: see `Range.limits_of`.
        """
        return np.array([each.limits_of(texts) for each in self.ranges]).reshape(len(self.ranges), 2)

    def faults(self, texts: Sequence[Mapping[str, str]]) -> list[str]:
        """What topologies lack, given the texts of each."""
        found = []
        for each in self.ranges:
            for said in texts:
                if each.by is None or (value := said.get(each.by, each.default)) in each.cases:
                    continue
                known = ", ".join(each.cases)
                lacks = f"says no {each.by}" if value is None else f"says {each.by}: {value}"
                found.append(f"{lacks}, and {each.feature} has ranges for {known}; name one of these")
        return list(dict.fromkeys(found))

    def first_reason(self, numbers: Float, names: Sequence[str], limits: Float) -> Int:
        """Why each row is not assessable: 0 where it is, otherwise the place in `reasons` plus one, shape [n].

        Args:
            numbers: inputs of the model, shape [n, inputs]; NaN where missing.
            names: of the inputs.
            limits: of the rows' keys, see `limits`, shape [n or 1, ranges, 2].
        """
        low, high = limits[..., 0], limits[..., 1]
        ranged = numbers[:, _at(names, [each.feature for each in self.ranges])]
        failed = np.column_stack(
            [
                *(np.isnan(numbers[:, _at(names, needed)]).all(axis=1) for needed in self.needs),
                *(_all_above(numbers[:, _at(names, gap.any_of)], gap.at_most_s) for gap in self.gaps),
                (ranged < low) | (ranged > high),
            ]
        )
        return np.where(failed.any(axis=1), failed.argmax(axis=1) + 1, 0)


def _all_above(values: Float, limit: float) -> Bool:
    """Rows with a value, all of whose values are above the limit."""
    least: Float = np.fmin.reduce(values, axis=1)
    return least > limit


def _at(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [names.index(name) for name in wanted]
