"""Compares models under one protocol: same sites, calibration, choice of alarm policy and false-alarm budget."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss

from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored
from pipelines.battery_hazard.training.fitting.calibration import labelled, platt, recalibrated
from pipelines.battery_hazard.training.fitting.models import (
    Rows,
    Score,
    balanced,
    fit_boosting,
    fit_forest,
    fit_logistic,
    scorer,
)
from pipelines.battery_hazard.training.fitting.policy import choose_policy
from pipelines.battery_hazard.training.fitting.presets import Preset
from pipelines.battery_hazard.training.fitting.thresholds import tuned_thresholds
from pipelines.battery_hazard.training.fitting.train import Data, directory_of, measured, prepare, score_all

_LINEAR_ROWS = 300_000


def contenders(preset: Preset, seed: int) -> dict[str, Callable[[Rows], Score]]:
    """The models to compare: for each name, the function that fits it."""

    def boosting(balance: str) -> Callable[[Rows], Score]:
        changed = replace(preset.boosting, balance=balance)  # type: ignore[arg-type]  # one of Balance
        return lambda rows: scorer(*fit_boosting(rows, changed, seed))

    return {
        "logistic regression, weights": lambda rows: fit_logistic(_some(rows, seed), seed),
        "logistic regression, resampling": lambda rows: fit_logistic(
            _some(balanced(rows, "resampling", seed), seed), seed
        ),
        "random forest, weights": lambda rows: fit_forest(rows, seed),
        "XGBoost, weights": boosting("weights"),
        "XGBoost, resampling": boosting("resampling"),
        "XGBoost, neither": boosting("none"),
    }


def _some(rows: Rows, seed: int) -> Rows:
    chosen = np.random.default_rng([seed, 32]).permutation(len(rows.target))[:_LINEAR_ROWS]
    return rows.at(chosen)


def compare(data: Path | None, preset: Preset, seed: int, progress: Progress) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and test metrics: of the threshold baseline, then of each model."""
    with directory_of(data) as directory:
        yield from _compare(prepare(directory, preset, seed, progress), preset, seed, progress)


def _compare(known: Data, preset: Preset, seed: int, progress: Progress) -> Iterator[tuple[str, dict[str, Any]]]:
    fits = contenders(preset, seed)
    progress("comparing models", 0, len(fits) + 1)
    baseline = tuned_thresholds(known.validation, budget=preset.false_alarm_budget)
    yield "thresholds", measured(baseline.policy, score_all(baseline.score, known.test))
    for done, (name, fit) in enumerate(fits.items(), 1):
        progress("comparing models", done, len(fits) + 1)
        yield name, _test_metrics(fit(known.training), known, preset)
    progress("comparing models", len(fits) + 1, len(fits) + 1)


def _test_metrics(score: Score, known: Data, preset: Preset) -> dict[str, Any]:
    raw = score_all(score, known.validation)
    line = platt(raw)
    validation = [_recalibrated(one, line) for one in raw]
    policy = choose_policy(validation, budget=preset.false_alarm_budget)
    test = [_recalibrated(one, line) for one in score_all(score, known.test)]
    probability, target = labelled(test)
    return {
        "setpoint": policy.setpoint,
        "on_delay_s": policy.on_delay_ms / 1000,
        "average_precision": round(float(average_precision_score(target, probability)), 5),
        "brier": round(float(brier_score_loss(target, probability)), 6),
        **measured(policy, test),
    }


def _recalibrated(one: Scored, line: tuple[float, float]) -> Scored:
    return replace(one, probability=recalibrated(one.probability, *line))
