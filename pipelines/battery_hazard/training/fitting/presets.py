"""How much is simulated for training, validation and test, and the sites of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS
from pipelines.battery_hazard.training.datasets.features import HELD_OUT
from pipelines.battery_hazard.training.datasets.series import PERIOD_MS, SimulatedSite
from pipelines.battery_hazard.training.evaluation.operator_metrics import FALSE_ALARM_BUDGET, NUISANCES_PER_MODULE_DAY
from pipelines.battery_hazard.training.fitting.models import Boosting

Split = Literal["training", "validation", "test"]
SPLITS: tuple[Split, ...] = ("training", "validation", "test")
NUISANCES = 1.0
"""Per module-day on sites without faults: 20 times `NUISANCES_PER_MODULE_DAY`, so that few days contain many."""
MODULES_A_FAULT = 12
KNOWN_MECHANISMS = tuple(m for m in MECHANISMS if m != HELD_OUT)
_PERIODS_MS = (10_000,) * 6 + (1_000, 2_000, 5_000, 20_000, 30_000, 60_000, 120_000, 300_000)
_CHEMISTRIES, _HEALTHY_SHARES, _TESTED_SHARES = ("nmc", "lfp", "lto"), (0.7, 0.2, 0.1), (0.8, 0.2, 0.0)
"""Shares of the chemistries at training sites without faults, and at test benches with destructive tests."""
_SITES_A_SPLIT = 10_000


@dataclass(frozen=True)
class Counts:
    """Number of faults and of sites.

    Attributes:
        events: sites of racks with faults.
        normal: sites of racks without.
        bench_events: test benches with destructive tests.
        bench_normal: test benches without.
    """

    events: int
    normal: int
    bench_events: int
    bench_normal: int


@dataclass(frozen=True)
class Preset:
    """Amount of simulated data, and size of the model.

    Attributes:
        training, validation, test: the sites of each split.
        faults, healthy, hours: of a site with faults: number of faults, number of other modules that are used, length.
            A site of racks has `MODULES_A_FAULT` modules per fault; with fewer, each fire would be in the smoke of
            another.
        normal_modules, normal_hours: of a site without faults.
        thin: training uses every `thin`-th normal reading, because neighbours are nearly alike.
        boosting: the model.
        false_alarm_budget: false alarms per module-day for which the alarm policy is chosen. With few validation days,
            a smaller one cannot be measured.
    """

    training: Counts
    validation: Counts
    test: Counts
    faults: int
    healthy: int
    hours: float
    normal_modules: int
    normal_hours: float
    thin: int
    boosting: Boosting
    false_alarm_budget: float = FALSE_ALARM_BUDGET


DEFAULT = Preset(
    training=Counts(events=12, normal=30, bench_events=8, bench_normal=20),
    validation=Counts(events=3, normal=32, bench_events=3, bench_normal=8),
    test=Counts(events=2, normal=8, bench_events=1, bench_normal=3),
    faults=36,
    healthy=20,
    hours=6,
    normal_modules=16,
    normal_hours=24,
    thin=5,
    boosting=Boosting(rounds=240, max_depth=8, learning_rate=0.12, subsample=0.5),
)
SMALL = Preset(
    training=Counts(events=2, normal=5, bench_events=2, bench_normal=3),
    validation=Counts(events=1, normal=4, bench_events=0, bench_normal=2),
    test=Counts(events=1, normal=1, bench_events=0, bench_normal=0),
    faults=14,
    healthy=10,
    hours=4,
    normal_modules=16,
    normal_hours=12,
    thin=4,
    boosting=Boosting(rounds=80, max_depth=5, learning_rate=0.2),
    false_alarm_budget=1 / 50,
)


def event_modules(faults: int, healthy: int, *, bench: bool) -> int:
    """Number of modules at a site with this number of faults."""
    return faults + healthy if bench else max(MODULES_A_FAULT * faults, faults + healthy)


def sites(preset: Preset, split: Split, seed: int) -> list[SimulatedSite]:
    """The sites of a split. Training and validation never contain `HELD_OUT`, or a site of another split or seed."""
    counts: Counts = getattr(preset, split)
    first = (seed * len(SPLITS) + SPLITS.index(split)) * _SITES_A_SPLIT
    rng = np.random.default_rng([first, 40])
    mechanisms = MECHANISMS if split == "test" else KNOWN_MECHANISMS
    made: list[SimulatedSite] = []
    for bench, events, normal in (
        (False, counts.events, counts.normal),
        (True, counts.bench_events, counts.bench_normal),
    ):
        for number in range(events + normal):
            varied = split == "training"
            faulty = number < events
            # The false-alarm budget does not cover broken sensors of test benches; they are for training only.
            enriched = not faulty and (varied or not bench)
            foreign = varied and (bench or not faulty)
            shares = _TESTED_SHARES if faulty else _HEALTHY_SHARES
            made.append(
                SimulatedSite(
                    seed=first + len(made),
                    modules=event_modules(preset.faults, preset.healthy, bench=bench)
                    if faulty
                    else preset.normal_modules,
                    faults=preset.faults if faulty else 0,
                    hours=preset.hours if faulty else preset.normal_hours,
                    nuisances=NUISANCES if enriched else NUISANCES_PER_MODULE_DAY,
                    mechanisms=mechanisms,
                    period_ms=int(rng.choice(_PERIODS_MS)) if varied else PERIOD_MS,
                    bench=bench,
                    healthy=preset.healthy if faulty else preset.normal_modules,
                    varied=varied,
                    chemistry=str(rng.choice(_CHEMISTRIES, p=shares)) if foreign else "nmc",
                )
            )
    return made
