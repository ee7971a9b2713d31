"""Explains a probability: what each feature contributes to the log-odds."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.text import shown
from worker.model.contract import Features, Model

TOP_CONTRIBUTIONS = 5


@dataclass(frozen=True)
class Contribution:
    """The contribution of one feature.

    Attributes:
        feature: its name.
        value: its value, in the sensor's own unit; a text if it is a category; None where missing.
        per: the topology parameter that the value is divided by; None where there is none.
        contribution: exact SHAP value, in log-odds.
    """

    feature: str
    value: float | str | None
    per: str | None
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """The log-odds of one reading: the sum of `bias` and all contributions.

    Attributes:
        contributions: of every input of the model, largest magnitude first; of equal ones, in the order of the inputs.
            Empty where the model cannot say them.
        bias: log-odds without any feature, the average over the training data; None where contributions are empty.
    """

    contributions: list[Contribution]
    bias: float | None

    def published(self) -> dict[str, Any]:
        """The fields of an alarm: the largest contributions, the sum of the others, and the bias; NaN: not known."""
        top, rest = self.contributions[:TOP_CONTRIBUTIONS], self.contributions[TOP_CONTRIBUTIONS:]
        return {
            "contributions": [asdict(c) for c in top],
            "other_contributions": math.nan if self.bias is None else float(sum(c.contribution for c in rest)),
            "bias": math.nan if self.bias is None else self.bias,
        }


def explain_rows(model: Model, features: Features) -> list[Explanation]:
    """Explain rows; a row's explanation does not depend on the others."""
    found = model.contributions(features)
    if found is None:
        return [Explanation([], None)] * len(features)
    per = {} if model.spec is None else {n: model.spec.per.get(s) for n, s in model.spec.sensor_of.items()}
    names, columns = [each.name for each in model.inputs], features.by_name(model.numeric)
    explanations = []
    for i, (row, constant) in enumerate(zip(found.parts, found.bias, strict=True)):
        order = np.argsort(-np.abs(row), kind="stable").tolist()
        contributions = [
            Contribution(names[j], _value(columns[names[j]][i]), per.get(names[j]), float(row[j])) for j in order
        ]
        explanations.append(Explanation(contributions, float(constant)))
    return explanations


def values_of(model: Model, features: Features) -> dict[str, float | str | None]:
    """The inputs of one row, by name; None where missing."""
    columns = features.by_name(model.numeric)
    return {each.name: _value(columns[each.name][0]) for each in model.inputs}


def value_text(value: float | str | None, digits: int = 6) -> str:
    """A feature's value for people."""
    if value is None:
        return "missing"
    return shown(value) if isinstance(value, str) else f"{value:.{digits}g}"


def _value(value: float | str | None) -> float | str | None:
    return value if value is None or isinstance(value, str) else None if np.isnan(value) else float(value)
