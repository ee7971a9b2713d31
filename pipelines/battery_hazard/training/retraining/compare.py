"""Compares a candidate with the champion on the same simulated sites, in an operator's terms (docs/model.md)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from scipy import stats

from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.series import Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import (
    EventOutcome,
    SeriesResult,
    evaluate_series,
    summary_by_kind,
)
from pipelines.battery_hazard.training.fitting.train import score_all
from worker.model.package import ModelPackage

_SIGNIFICANT = 0.05


class Comparison(NamedTuple):
    """Figures of both models by split and kind, and in which respects the candidate is worse."""

    figures: dict[str, Any]
    worse: list[str]


def compare(
    candidate: ModelPackage, champion: ModelPackage, validation: Iterable[Series], test: Iterable[Series]
) -> Comparison:
    """Evaluate both models on the same series.

    Only the test series decide, because the candidate's policy was chosen on the validation series. The candidate is
    worse where a difference is significant by an exact one-sided test at 5 %: McNemar's test for events, because both
    models see the same ones, and the binomial test for false alarms: by chance, half would be the candidate's.
    """
    if champion.spec != FEATURES:
        reason = "the champion has other features than training has now, so the two cannot be compared here; compare "
        reason += "them in the shadow, or with `hazardstream backtest` on recordings"
        return Comparison({}, [reason])
    verdicts = {
        split: {
            name: _verdicts(package, series) for name, package in (("candidate", candidate), ("champion", champion))
        }
        for split, series in (("validation", validation), ("test", test))
    }
    figures = {split: {name: summary_by_kind(own) for name, own in both.items()} for split, both in verdicts.items()}
    return Comparison(figures, worse(verdicts["test"]["candidate"], verdicts["test"]["champion"]))


def _verdicts(package: ModelPackage, series: Iterable[Series]) -> list[SeriesResult]:
    return [evaluate_series(package.policy, one) for one in score_all(package.score, series)]


def worse(candidate: Sequence[SeriesResult], champion: Sequence[SeriesResult]) -> list[str]:
    """In which respects the candidate is worse, by results on the same series."""
    said = []
    pairs = [(a.event, b.event) for a, b in zip(candidate, champion, strict=True) if a.event and b.event]
    ways: tuple[tuple[str, Callable[[EventOutcome], bool]], ...] = (
        ("warned of", lambda event: event.warned),
        ("alarmed in time", lambda event: event.met),
    )
    for name, holds in ways:
        lost = sum(holds(b) and not holds(a) for a, b in pairs)
        won = sum(holds(a) and not holds(b) for a, b in pairs)
        if (p := _chance(lost, won)) < _SIGNIFICANT:
            said.append(
                f"of {len(pairs)} events, only the champion {name} {lost}, and only the candidate {won} (p = {p:.2g})"
            )
    mine, its = (sum(len(v.false_alarms) for v in verdicts) for verdicts in (candidate, champion))
    if (p := _chance(mine, its)) < _SIGNIFICANT:
        said.append(f"{mine} false alarms; the champion had {its} (p = {p:.2g})")
    return said


def _chance(against: int, for_it: int) -> float:
    """Probability that two equal models give a result at least this bad for the candidate."""
    total = against + for_it
    return float(stats.binomtest(against, total, alternative="greater").pvalue) if total else 1.0
