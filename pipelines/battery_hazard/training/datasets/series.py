"""Simulates sites and yields a labelled series per module, with the features that the worker computes.

A site is a fleet drawn from a seed. All of it belongs to either training, validation or test, so that these share no
event, no module and no weather.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.arrays import Float, Int
from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING, MECHANISMS, Fault, Nuisance
from pipelines.battery_hazard.simulator.fleet import CAPACITY_AH, CELLS_IN_SERIES, MODULES_PER_RACK, SENSORS, Fleet
from pipelines.battery_hazard.simulator.plant.sensing import CURRENT, VOLTAGE
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, SITES, THERMOMETERS
from pipelines.battery_hazard.training.datasets.labels import NORMAL, Label, labels
from pipelines.battery_hazard.training.datasets.randomisation import lose_thermometers, randomised
from worker.windows.offline import offline_features

PERIOD_MS = 10_000
NEIGHBOUR_HEAT = "neighbour_heat"
_EPOCH_MS = 1_735_689_600_000
_YEAR_MS = 365 * DAY_MS
_BLOCK_STEPS = 2160
_DRAWN = 20
"""Number of the random stream of a site's choices."""
_READINGS_A_RUN = 150
_BENCH_AH = (0.5, 15.0)
_WAYS_WHERE_VARIED = 7
"""A training site shows a fault with some of the ways to be equipped: all of them would make the data too large."""
_FAST_MS, _SHOWN_BEFORE_MS, _SHOWN_AFTER_MS = 5000, 20 * MINUTE_MS, 15 * MINUTE_MS
"""Of a series faster than this, only the time around its event is shown, or as much of a healthy one."""


@dataclass(frozen=True)
class SimulatedSite:
    """Parameters of a site, which is simulated as one fleet.

    Attributes:
        seed: the same seed gives the same site.
        modules, faults, hours, nuisances, mechanisms, period_ms: see `pipelines.battery_hazard.simulator.fleet.Fleet`.
        chemistry: of its cells, see `Fleet`.
        bench: whether it has single cells on test benches instead of modules in racks.
        healthy: largest number of modules without a fault that are used. Up to half of them have a short that decays.
        sensors: how all its modules are equipped (a name in `features.SITES`). None: each module with a fault or a
            short that decays gives a series for every way to be equipped that has a thermometer (some of them if the
            site is varied), and the others are equipped at random, by the shares in `features.SITES`.
        varied: whether instruments and modules differ from the simulator's own, as in training.
    """

    seed: int
    modules: int
    faults: int
    hours: float
    nuisances: float
    mechanisms: tuple[str, ...] = MECHANISMS
    period_ms: int = PERIOD_MS
    bench: bool = False
    healthy: int = 1_000_000
    sensors: str | None = None
    varied: bool = False
    chemistry: str = "nmc"


@dataclass(frozen=True)
class About:
    """The module that a series belongs to.

    Attributes:
        site: the site's seed.
        module: its row in the fleet.
        sensors: how it is equipped, a name in `features.SITES`.
        bench: whether it is a single cell on a test bench.
        period_ms: time between readings.
        fault: its fault; None: it has none.
        nuisances: its events that look like a hazard but are none.
        nuisance_rate: simulated number of nuisances per module-day.
    """

    site: int
    module: int
    sensors: str
    bench: bool
    period_ms: int
    fault: Fault | None
    nuisances: tuple[Nuisance, ...]
    nuisance_rate: float

    @property
    def decaying(self) -> tuple[Nuisance, ...]:
        """Its sudden shorts that decay."""
        return tuple(n for n in self.nuisances if n.kind == DECAYING)

    @property
    def event_ms(self) -> int | None:
        """When its fault or its sudden short begins to be dangerous; None: it has neither."""
        if self.fault is not None:
            return self.fault.no_return_ts
        return self.decaying[0].start_ts if self.decaying else None

    @property
    def cells(self) -> bool:
        """Whether the lowest and highest voltage of its cells are measured."""
        return "min_cell_voltage_v" not in SITES[self.sensors][1]

    @property
    def gas(self) -> bool:
        """Whether the module has gas sensors."""
        return not self.bench and "offgas_h2_ppm" not in SITES[self.sensors][1]


@dataclass(frozen=True)
class Series:
    """Readings of a module in order of time: ts [n] (ms), features [n, f] as the worker computes them, label [n]."""

    about: About
    ts: Int
    features: Float
    label: Label


def series_of(site: SimulatedSite) -> Iterator[Series]:
    """Simulate a site and yield the series of its modules (more than one of a module: see `SimulatedSite.sensors`)."""
    rng = np.random.default_rng([site.seed, _DRAWN])
    fleet, topology = _drawn(site, rng)
    fault_of = {fault.module: fault for fault in fleet.faults}
    shorted = {n.module for n in fleet.nuisances if n.kind == DECAYING}
    others = rng.permutation([m for m in range(site.modules) if m not in fault_of]).tolist()
    # At most half of them are modules with a short that decays.
    decaying = [m for m in others if m in shorted][: site.healthy // 2]
    healthy = [*decaying, *(m for m in others if m not in decaying)][: site.healthy]
    chosen = sorted([*fault_of, *healthy])
    ts, values = _simulate(fleet, round(site.hours * HOUR_MS) // site.period_ms, chosen)
    values[..., VOLTAGE] /= topology["cells_in_series"]
    values[..., CURRENT] /= topology["capacity_ah"]
    for place, module in enumerate(chosen):
        nuisances = tuple(n for n in fleet.nuisances if n.module == module)
        for sensors in _equipped(site, rng, every_way=module in fault_of or module in shorted):
            about = About(
                site.seed,
                module,
                sensors,
                site.bench,
                site.period_ms,
                fault_of.get(module),
                nuisances,
                site.nuisances,
            )
            beside = () if site.bench else _beside(module, fleet.faults)
            yield _series(about, ts[:, place], values[:, place], beside, rng if site.varied else None)


def fleet_of(site: SimulatedSite) -> Fleet:
    """The fleet of a site, the same one that `series_of` simulates, before its first reading."""
    return _drawn(site, np.random.default_rng([site.seed, _DRAWN]))[0]


def _drawn(site: SimulatedSite, rng: np.random.Generator) -> tuple[Fleet, dict[str, float]]:
    topology = _topology(site, rng)
    start_ms = _EPOCH_MS + int(rng.integers(0, _YEAR_MS)) // PERIOD_MS * PERIOD_MS
    fleet = Fleet(
        site.modules,
        site.seed,
        faults=site.faults,
        start_ms=start_ms,
        span_ms=round(site.hours * HOUR_MS),
        period_ms=site.period_ms,
        mechanisms=site.mechanisms,
        nuisances=site.nuisances,
        cells_in_series=int(topology["cells_in_series"]),
        capacity_ah=topology["capacity_ah"],
        chemistry=site.chemistry,
    )
    return fleet, topology


def _simulate(fleet: Fleet, steps: int, chosen: list[int]) -> tuple[Int, Float]:
    blocks = []
    while steps > 0:
        ts, values = fleet.block(min(steps, _BLOCK_STEPS))
        blocks.append((ts[:, chosen], values[:, chosen]))
        steps -= len(ts)
    return np.concatenate([ts for ts, _ in blocks]), np.concatenate([values for _, values in blocks])


def _topology(site: SimulatedSite, rng: np.random.Generator) -> dict[str, float]:
    if site.bench:
        return {"cells_in_series": 1.0, "capacity_ah": _bench_ah(site, rng)}
    if site.varied and rng.random() < 1 / 3:
        return {"cells_in_series": float(rng.integers(8, 17)), "capacity_ah": float(rng.choice([50.0, 100.0, 180.0]))}
    return {"cells_in_series": float(CELLS_IN_SERIES), "capacity_ah": CAPACITY_AH}


def _bench_ah(site: SimulatedSite, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(_BENCH_AH)))) if site.varied else 2.6


def _beside(module: int, faults: list[Fault]) -> tuple[Fault, ...]:
    rack = module // MODULES_PER_RACK
    return tuple(f for f in faults if f.module != module and f.module // MODULES_PER_RACK == rack)


def _equipped(site: SimulatedSite, rng: np.random.Generator, *, every_way: bool) -> list[str]:
    ways = BENCH_SITES if site.bench else SITES
    if site.sensors is not None:
        return [site.sensors]
    if every_way:
        seeing = [way for way, (_, lacking) in ways.items() if not set(THERMOMETERS) <= set(lacking)]
        return [str(way) for way in rng.permutation(seeing)[:_WAYS_WHERE_VARIED]] if site.varied else seeing
    return [str(rng.choice(list(ways), p=[share for share, _ in ways.values()]))]


def _series(
    about: About, ts: Int, values: Float, beside: tuple[Fault, ...], instruments: np.random.Generator | None
) -> Series:
    if about.period_ms < _FAST_MS:
        shown = _shown(about, ts)
        ts, values = ts[shown], values[shown]
    if instruments is None:
        values = values.copy()
    else:
        values = randomised(values, instruments, bench=about.bench, period_ms=about.period_ms)
        lose_thermometers(values, ts, instruments, None if about.event_ms is None else about.event_ms)
    values[:, [SENSORS.index(s) for s in SITES[about.sensors][1]]] = np.nan
    values = values[:, [SENSORS.index(s) for s in FEATURES.sensors]]
    heard = ~np.isnan(values).all(axis=1)
    ts, values = ts[heard], values[heard]
    # Voltage and current are scaled already.
    runs = np.zeros(len(ts), np.int64)
    if instruments is not None and about.bench:
        # Recordings of tests are short, so training must often show windows that have just begun.
        runs = np.cumsum(instruments.random(len(ts)) < 1 / _READINGS_A_RUN)
    features, rows = offline_features(FEATURES, runs, ts, values, np.ones((1 + runs.max(initial=0), values.shape[1])))
    warmed = [n for n in about.nuisances if n.kind == NEIGHBOUR_HEAT]
    label = labels(ts[rows], about.fault, gas=about.gas, cells=about.cells, beside=beside, warmed=warmed)
    return Series(about, ts[rows], features, label)


def _shown(about: About, ts: Int) -> slice:
    """Rows of a fast series around its event, or as long a part of a series without."""
    rng = np.random.default_rng([about.site, 30, about.module])
    at_ms = int(rng.integers(ts[0], ts[-1] + 1)) if about.event_ms is None else about.event_ms
    first, last = np.searchsorted(ts, [at_ms - _SHOWN_BEFORE_MS, at_ms + _SHOWN_AFTER_MS])
    return slice(int(first), int(last))


def normal_days(about: About, label: Label) -> float:
    """Module-days of normal operation."""
    return float((label == NORMAL).sum()) * about.period_ms / DAY_MS
