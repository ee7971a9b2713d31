"""Evaluates a model package on new simulated sites, with the metrics for operators; see docs/model.md.

Each process simulates a site, computes its features with the worker's kernel, scores them with the package, and returns
only the results for its alarms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import UserError
from common.processes import done_in_processes
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, SITES
from pipelines.battery_hazard.training.datasets.series import SimulatedSite, series_of
from pipelines.battery_hazard.training.evaluation.operator_metrics import (
    NUISANCES_PER_MODULE_DAY,
    SeriesResult,
    evaluate_alarms,
    evaluate_series,
)
from pipelines.battery_hazard.training.fitting.presets import event_modules
from pipelines.battery_hazard.training.fitting.thresholds import Thresholds
from pipelines.battery_hazard.training.study.shipped_alarms import Shipped, alarms_of
from worker.alarms.state_machine import AlarmPolicy

_FIRST_SEED = 50_000_000
"""Differs from every seed of the datasets (`pipelines.battery_hazard.training.fitting.presets.sites`)."""
_SEEDS = 1_000_000
_MODULES, _DAYS = 16, 5
_FAULTS, _HEALTHY, _EVENT_HOURS = 36, 20, 6.0


ANY, CRITICAL, LIMITS = "any alarm", "CRITICAL", "limits"
"""What is evaluated: alarms of the pipeline with a hazard's priority, those that are CRITICAL, and tuned limits."""
_PRIORITIES = {ANY: ("HIGH", "CRITICAL"), CRITICAL: ("CRITICAL",)}


@dataclass(frozen=True)
class SiteResult:
    """Results of a site: by what is evaluated, for each series."""

    site: SimulatedSite
    of: dict[str, list[SeriesResult]]


def evaluation_sites(
    *, events: int, bench_events: int, module_days: int, bench_days: int, seed: int
) -> list[SimulatedSite]:
    """Sites with about `events` faults, and `module_days` of sites without faults; likewise for cells on benches.

    Nuisances occur at the rate `NUISANCES_PER_MODULE_DAY`. Sites without faults get sets of sensors by the shares in
    `features.SITES`; each faulty module gives one series per set of sensors.
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
    shipped: Shipped, sites: Sequence[SimulatedSite], *, processes: int, progress: Progress
) -> Iterator[SiteResult]:
    """Evaluate a pipeline and its threshold baseline on sites. Yields results in the order in which they finish.

    Raises:
        UserError: the package has no threshold baseline, as old packages have none, or has other features.
    """
    package = shipped.package
    limits = package.metrics.get("thresholds")
    if not isinstance(limits, dict):
        raise UserError(f"{package.name} {package.version} has no threshold baseline in its metrics; train it again")
    if package.spec.names != FEATURES.names:
        raise UserError(f"{package.name} {package.version} has other features than training has now; train it again")
    baseline = Thresholds(limits["limits"], AlarmPolicy.model_validate(limits["policy"]))
    progress("evaluating sites", 0, len(sites))
    # Sites with faults take longest. They come first, so that the processes finish at about the same time.
    order = sorted(sites, key=lambda site: -site.faults)
    evaluated = done_in_processes(_evaluate_site, order, processes, _prepare, (shipped, baseline))
    for done, result in enumerate(evaluated, 1):
        yield result
        progress("evaluating sites", done, len(sites))


_compared: tuple[Shipped, Thresholds] | None = None
"""Pipeline and baseline of this process of the pool."""


def _prepare(shipped: Shipped, baseline: Thresholds) -> None:
    global _compared  # noqa: PLW0603 - an initializer of a pool can pass objects only by a global
    _compared = shipped, baseline


def _evaluate_site(site: SimulatedSite) -> SiteResult:
    if _compared is None:
        raise RuntimeError("this process was not prepared")
    shipped, baseline = _compared
    of: dict[str, list[SeriesResult]] = {name: [] for name in (ANY, CRITICAL, LIMITS)}
    for one in series_of(site):
        scored = shipped.scored(one)
        made, ts = shipped.transitions(one, scored.probability)
        for name, priorities in _PRIORITIES.items():
            alarms = alarms_of(made, ts, priorities)
            of[name].append(evaluate_alarms(alarms, scored, critical=name == CRITICAL))
        limited = replace(scored, probability=baseline.score(one.features))
        of[LIMITS].append(evaluate_series(baseline.policy, limited))
    return SiteResult(site, of)
