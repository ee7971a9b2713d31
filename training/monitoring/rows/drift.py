"""Compares recent rows with those of the training, and decides whether to train again.

For models whose inputs are fields of the record. Pipelines with windows are watched by sketches (`drift/check.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from common.errors import UserError
from common.figures import figure
from training.monitoring.drift.check import FALSE_DISCOVERIES, LEAST_DISTANCE

LEAST_ROWS = 100
MISSING_MORE = 0.10
DRIFTED_SHARE = 0.2
"""Share of the input columns that have drifted from which the model is trained again."""
WORSE_BY = 1.5
"""Ratio of the error on labelled recent rows to that in the test from which the model is trained again."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column, recent rows against those of the training.

    Attributes:
        kind: number: two-sample Kolmogorov-Smirnov test. category: chi-squared test, with the total variation distance.
        distance: between the two distributions, 0 to 1.
        q: p-value of the test, corrected for the number of columns (Benjamini and Hochberg 1995).
        missing_before, missing_now: shares of rows without a value.
        drifted: whether the distance is large and not by chance, or values are missing far more often.
    """

    name: str
    kind: Literal["number", "category"]
    distance: float
    q: float
    missing_before: float
    missing_now: float
    drifted: bool

    @property
    def finding(self) -> str:
        """The distance, and how many values are missing if they are far more than before, in text."""
        if self.missing_now - self.missing_before < MISSING_MORE:
            return f"{self.distance:.2f}"
        return f"{self.distance:.2f}, {self.missing_now:.0%} missing, {self.missing_before:.0%} before"


@dataclass(frozen=True)
class Decision:
    """Whether to train again. reasons: empty if not."""

    columns: tuple[ColumnDrift, ...]
    reasons: tuple[str, ...]

    @property
    def retrain(self) -> bool:
        """Whether there is a reason to."""
        return bool(self.reasons)


def compare_rows(
    before: pd.DataFrame, now: pd.DataFrame, numbers: Sequence[str], categories: Sequence[str]
) -> tuple[ColumnDrift, ...]:
    """Compare each column.

    Args:
        before: rows of the training.
        now: recent rows.
        numbers: columns of numbers; missing values are NaN.
        categories: columns of texts; missing values are None.

    Raises:
        UserError: there are too few rows.
    """
    if min(len(before), len(now)) < LEAST_ROWS:
        raise UserError(
            f"{len(before)} rows of the training and {len(now)} recent ones are too few: {LEAST_ROWS} of each are "
            "needed; wait for more"
        )
    tests = [(name, "number", *_numbers_apart(before[name], now[name])) for name in numbers]
    tests += [(name, "category", *_categories_apart(before[name], now[name])) for name in categories]
    corrected = stats.false_discovery_control([p for _, _, _, p in tests])
    return tuple(
        _column(name, "number" if kind == "number" else "category", distance, float(q), before[name], now[name])
        for (name, kind, distance, _), q in zip(tests, corrected, strict=True)
    )


def decide(
    columns: tuple[ColumnDrift, ...], *, error_before: float | None = None, error_now: float | None = None
) -> Decision:
    """Decide whether to train again.

    Args:
        columns: of `compare_rows`.
        error_before: of the model on its test rows, more is worse.
        error_now: of the model on recent rows whose truth is known.
    """
    drifted = [column for column in columns if column.drifted]
    reasons = []
    if columns and len(drifted) / len(columns) >= DRIFTED_SHARE:
        names = ", ".join(f"{column.name} ({column.finding})" for column in drifted)
        reasons.append(f"{len(drifted)} of {len(columns)} columns have drifted: {names}")
    if error_before is not None and error_now is not None and error_now >= WORSE_BY * error_before:
        reasons.append(f"the error on recent rows is {figure(error_now)}, in the test it was {figure(error_before)}")
    return Decision(columns, tuple(reasons))


def _numbers_apart(before: pd.Series, now: pd.Series) -> tuple[float, float]:
    known, recent = before.dropna(), now.dropna()
    if known.empty or recent.empty:
        return 0.0, 1.0
    found = stats.ks_2samp(known, recent)
    return float(found.statistic), float(found.pvalue)


def _categories_apart(before: pd.Series, now: pd.Series) -> tuple[float, float]:
    counts = pd.DataFrame({"before": before.value_counts(), "now": now.value_counts()}).fillna(0)
    if len(counts) < 2 or not counts.sum().all():
        return 0.0, 1.0
    shares = counts / counts.sum()
    distance = float((shares["before"] - shares["now"]).abs().sum() / 2)
    return distance, float(stats.chi2_contingency(counts.to_numpy()).pvalue)


def _column(
    name: str, kind: Literal["number", "category"], distance: float, q: float, before: pd.Series, now: pd.Series
) -> ColumnDrift:
    missing = float(before.isna().mean()), float(now.isna().mean())
    drifted = (distance >= LEAST_DISTANCE and q <= FALSE_DISCOVERIES) or missing[1] - missing[0] >= MISSING_MORE
    return ColumnDrift(name, kind, distance, q, *missing, drifted)
