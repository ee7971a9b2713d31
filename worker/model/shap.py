"""Explains a probability: what each feature contributes to the log-odds."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.arrays import Float
from worker.model.package import ModelPackage

TOP_CONTRIBUTIONS = 5


@dataclass(frozen=True)
class Contribution:
    """The contribution of one feature.

    Attributes:
        feature: its name.
        value: its value, in the sensor's own unit; None where missing.
        per: the topology parameter that the value is divided by; None where there is none.
        contribution: exact SHAP value, in log-odds.
    """

    feature: str
    value: float | None
    per: str | None
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """The log-odds of one reading: the sum of `bias` and all contributions.

    Attributes:
        contributions: of every feature, largest magnitude first; of equal ones, in the order of the features.
        bias: log-odds without any feature, the average over the training data.
    """

    contributions: list[Contribution]
    bias: float

    def published(self) -> dict[str, Any]:
        """The fields of an alarm: the largest contributions, the sum of the others, and the bias."""
        top, rest = self.contributions[:TOP_CONTRIBUTIONS], self.contributions[TOP_CONTRIBUTIONS:]
        return {
            "contributions": [asdict(c) for c in top],
            "other_contributions": float(sum(c.contribution for c in rest)),
            "bias": self.bias,
        }


def explain_rows(package: ModelPackage, features: Float) -> list[Explanation]:
    """Explain rows of features [n, f]; a row's explanation does not depend on the others."""
    parts, bias = package.contributions(features)
    names = package.spec.names
    per = {name: package.spec.per.get(sensor) for name, sensor in package.spec.sensor_of.items()}
    explanations = []
    for values, row, constant in zip(features, parts, bias, strict=True):
        order = np.argsort(-np.abs(row), kind="stable").tolist()
        contributions = [
            Contribution(names[i], None if np.isnan(values[i]) else float(values[i]), per[names[i]], float(row[i]))
            for i in order
        ]
        explanations.append(Explanation(contributions, float(constant)))
    return explanations
