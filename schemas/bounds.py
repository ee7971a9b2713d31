"""Smallest and largest values that a record's declared rules allow."""

from typing import NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel


class Bounds(NamedTuple):
    """Smallest and largest value allowed."""

    low: float
    high: float


def bounds(model: type[BaseModel], field: str) -> Bounds:
    """The closed interval that a field's declared rules allow; infinite where there is no rule."""
    low, high = -np.inf, np.inf
    for rule in model.model_fields[field].metadata:
        if isinstance(rule, Ge):
            low = max(low, float(rule.ge))  # type: ignore[arg-type]  # declared as a protocol; always a number here
        elif isinstance(rule, Gt):
            low = max(low, np.nextafter(float(rule.gt), np.inf))  # type: ignore[arg-type]
        elif isinstance(rule, Le):
            high = min(high, float(rule.le))  # type: ignore[arg-type]
        elif isinstance(rule, Lt):
            high = min(high, np.nextafter(float(rule.lt), -np.inf))  # type: ignore[arg-type]
    return Bounds(low, high)
