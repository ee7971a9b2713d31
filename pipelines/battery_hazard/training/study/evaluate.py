"""Evaluate a model package on simulated sites that nobody has seen, as operators count; see docs/model.md.

Everything is streamed: a process simulates a site, computes its features with the worker's kernel, scores them with the
package, and hands back the verdicts on its alarms alone.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, SITES
from pipelines.battery_hazard.training.datasets.series import SimulatedSite, series_of
from pipelines.battery_hazard.training.evaluation.operator_metrics import (
    NUISANCES_PER_MODULE_DAY,
    Scored,
    SeriesResult,
    evaluate_series,
)
from pipelines.battery_hazard.training.fitting.presets import event_modules
from pipelines.battery_hazard.training.fitting.thresholds import Thresholds
from worker.alarms.state_machine import AlarmPolicy
from worker.model.package import ModelPackage

_FIRST_SEED = 50_000_000
"""Far from every seed of the datasets (`pipelines.battery_hazard.training.fitting.presets.sites`)."""
_SEEDS = 1_000_000
_MODULES, _DAYS = 16, 5
_FAULTS, _HEALTHY, _EVENT_HOURS = 36, 20, 6.0


@dataclass(frozen=True)
class SiteResult:
    """The verdicts of two judges on the same series: the model's alarms and those of the threshold baseline."""

    site: SimulatedSite
    model: list[SeriesResult]
    baseline: list[SeriesResult]
    highest: float


def evaluation_sites(
    *, events: int, bench_events: int, module_days: int, bench_days: int, seed: int
) -> list[SimulatedSite]:
    """Sites with about so many faults, and without faults so many module-days.

    Sites without faults meet nuisances as often as `NUISANCES_PER_MODULE_DAY` says, and are equipped by the shares in
    `battery.SITES`; faulty modules are tried with every set of sensors.
    """
    first = _FIRST_SEED + seed * _SEEDS
    made: list[SimulatedSite] = []

    def add(*, bench: bool, faults: int, **how: Any) -> None:
        made.append(
            SimulatedSite(first + len(made), bench=bench, faults=faults, nuisances=NUISANCES_PER_MODULE_DAY, **how)
        )

    for bench, wanted, days in ((False, events, module_days), (True, bench_events, bench_days)):
        for left in range(wanted, 0, -_FAULTS):
            faults = min(left, _FAULTS)
            modules = event_modules(faults, _HEALTHY, bench=bench)
            add(bench=bench, faults=faults, modules=modules, healthy=_HEALTHY, hours=_EVENT_HOURS)
        ways = BENCH_SITES if bench else SITES
        equipped = np.random.default_rng([first, bench]).choice(list(ways), days, p=[s for s, _ in ways.values()])
        for number, left in enumerate(range(days, 0, -_MODULES * _DAYS)):
            modules = min(_MODULES, -(-left // _DAYS))
            add(bench=bench, faults=0, modules=modules, hours=24.0 * _DAYS, sensors=str(equipped[number]))
    return made


def evaluate(
    package: ModelPackage, sites: Sequence[SimulatedSite], *, processes: int, progress: Progress
) -> Iterator[SiteResult]:
    """Judge a package and its threshold baseline on sites, in the order in which they are done.

    Raises:
        UserError: the package holds no threshold baseline, as an old one does.
    """
    limits = package.metrics.get("thresholds")
    if not isinstance(limits, dict):
        raise UserError(f"{package.name} {package.version} has no threshold baseline in its metrics; train it again")
    baseline = Thresholds(limits["limits"], AlarmPolicy.model_validate(limits["policy"]))
    progress("evaluating sites", 0, len(sites))
    # Those with faults take longest: first, so that no process is left alone at the end.
    order = sorted(sites, key=lambda site: -site.faults)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_prepare, initargs=(package, baseline)) as pool:
        for done, judged in enumerate(as_completed([pool.submit(_evaluate_site, site) for site in order]), 1):
            yield judged.result()
            progress("evaluating sites", done, len(sites))


_compared: tuple[ModelPackage, Thresholds] | None = None
"""Of this process, where it is one of a pool."""


def _prepare(package: ModelPackage, baseline: Thresholds) -> None:
    global _compared  # noqa: PLW0603 - how a pool's process is given what it needs
    _compared = package, baseline


def _evaluate_site(site: SimulatedSite) -> SiteResult:
    if _compared is None:
        raise RuntimeError("this process was not prepared")
    package, baseline = _compared
    model, limits, highest = [], [], 0.0
    for one in series_of(site):
        probability = package.score(one.features)
        model.append(evaluate_series(package.policy, Scored(one.about, one.ts, one.label, probability)))
        limits.append(
            evaluate_series(baseline.policy, Scored(one.about, one.ts, one.label, baseline.score(one.features)))
        )
        highest = max(highest, float(probability[one.label == 0].max(initial=0.0)))
    return SiteResult(site, model, limits, highest)
