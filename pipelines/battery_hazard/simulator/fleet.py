"""A fleet of battery modules, simulated by physics in blocks of time x modules, with known faults and nuisances.

A fleet is either modules of lithium cobalt oxide/graphite cells in racks of eight, or single cells on test benches.
docs/physics.md describes the physics.

Example:
    >>> fleet = Fleet(modules=64, seed=7, faults=3, start_ms=1_750_000_000_000, span_ms=6 * 3_600_000)
    >>> for step in fleet.steps(2160):
    ...     step.ts, step.values        # [64] int64 ms, [64, 13] float64, NaN where missing
    >>> fleet.faults[0].module, fleet.faults[0].mechanism, fleet.faults[0].no_return_ts
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.times import HOUR_MS, MINUTE_MS
from pipelines.battery_hazard.simulator.events.effects import lay
from pipelines.battery_hazard.simulator.events.faults import LEAD_MS, NeverRunsAwayError, World, allowed
from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS, SPREADING
from pipelines.battery_hazard.simulator.events.mechanisms import Build
from pipelines.battery_hazard.simulator.events.nuisances import (
    SHORTS,
    Disturbance,
    disturb,
    draw_nuisances,
    forced_by,
    listed,
    stuck,
)
from pipelines.battery_hazard.simulator.events.schedule import MODULES_PER_RACK, Ran, run_events
from pipelines.battery_hazard.simulator.physics.cell import cell_of
from pipelines.battery_hazard.simulator.plant.cell_indices import usual_cells, with_events
from pipelines.battery_hazard.simulator.plant.measured import measured
from pipelines.battery_hazard.simulator.plant.normal import Modules, Override, draw_traits
from pipelines.battery_hazard.simulator.plant.sensing import (
    AVG,
    GAS,
    SENSORS,
    VOLTAGE,
    Sensing,
    death_ms,
)
from pipelines.battery_hazard.simulator.plant.site import Forced, Site, rack_name

__all__ = ["CAPACITY_AH", "CELLS_IN_SERIES", "MODULES_PER_RACK", "SENSORS", "Fleet", "Step"]

CELLS_IN_SERIES = 14
CAPACITY_AH = 100.0
"""14s2p of 50 Ah cells."""
_TWO_PARALLEL_FROM_AH = 20.0
_BLOCK_READINGS = 200_000
_BLOCK_STEPS = 360
_JITTER_MS = 200
_AFTERMATH_MS = 2 * HOUR_MS
_TRIP_MS = 60_000
_WARM_UP_MS = 3 * HOUR_MS
_END_OF_TIME_MS = 2**42
_ATTEMPTS, _OTHER_SEED = 5, 100_000_000


@dataclass(frozen=True)
class Step:
    """Readings of all modules at one moment.

    Attributes:
        ts: [modules] int64, event time, milliseconds since the Unix epoch; each device's clock is slightly off.
        values: [modules, 13] float64 in the order of `SENSORS`, NaN where a value is missing. All are NaN
            for a module whose sensors all failed: it is silent, so publish nothing for it.
    """

    ts: NDArray[np.int64]
    values: NDArray[np.float64]


def module_names(modules: int) -> list[str]:
    """Names of the modules of a fleet, such as `RackA1_Module01`."""
    return [f"{rack_name(i // MODULES_PER_RACK)}_Module{i % MODULES_PER_RACK + 1:02d}" for i in range(modules)]


class Fleet:
    """Modules in racks of eight (or cells on benches) with load, weather, imperfect sensors, faults and nuisances.

    Attributes:
        module_ids: names, such as `RackA1_Module01`, in the order of the rows of a step.
        rack_ids: name of each module's rack, same order.
        faults: ground truth, known from the start, ordered by onset.
        nuisances: events that look like a hazard but are none, ordered by start.
        events: how faults and shorts change the readings.
        next_ms: event time of the next step.
    """

    def __init__(
        self,
        modules: int,
        seed: int,
        *,
        faults: int = 0,
        start_ms: int,
        span_ms: int = 6 * HOUR_MS,
        period_ms: int = 10_000,
        mechanisms: tuple[str, ...] = MECHANISMS,
        nuisances: float = 0.0,
        cells_in_series: int = CELLS_IN_SERIES,
        capacity_ah: float = CAPACITY_AH,
        chemistry: str = "nmc",
    ) -> None:
        """Draw a fleet and compute the physics of its faults.

        Args:
            modules: number of modules.
            seed: the same seed and arguments give the same readings.
            faults: number of modules that fail by themselves. With `propagation` among the mechanisms, neighbours may
                catch fire too; they are further entries of the attribute `faults`.
            start_ms: event time of the first step, ms since the Unix epoch.
            span_ms: event time over which the faults' points of no return are spread, from 0.3 to 0.9 of it. Physics
                decides how long a fault takes, so they may be some minutes off. In a short span, faults began before
                `start_ms`. Nuisances fall into the span, too.
            period_ms: event time from one step to the next.
            mechanisms: mechanisms of faults to draw from.
            nuisances: expected number per module-day, all kinds together.
            cells_in_series: cells in series in a module. 1 makes single cells on test benches: each is in a climatic
                chamber, is cycled at 0.5 to 3 C, and its faults are destructive tests. Such a cell has sensors for
                voltage, current and temperature.
            capacity_ah: capacity of a module; from 20 Ah on, it has two cells in parallel.
            chemistry: one of `cell.CHEMISTRIES`. Only layered oxide (`nmc`) has all mechanisms. The others have normal
                operation, and LFP on a test bench has sudden shorts.

        Raises:
            ValueError: modules, span or period are below 1, there are more faults than modules, a mechanism is unknown,
                or faults never run away.
        """
        if modules < 1 or span_ms < 1 or period_ms < 1 or not 0 <= faults <= modules or nuisances < 0:
            raise ValueError(f"modules={modules}, faults={faults}, span_ms={span_ms}, period_ms={period_ms}")
        parallel = 2 if capacity_ah >= _TWO_PARALLEL_FROM_AH else 1
        build = Build(cells_in_series, parallel, cell_of(capacity_ah / parallel, chemistry))
        self.period_ms, self._build, self._capacity_ah = period_ms, build, capacity_ah
        begins = allowed(mechanisms, build) if faults else []
        for attempt in range(_ATTEMPTS):
            try:
                other = seed + attempt * _OTHER_SEED
                self._draw(modules, other, faults, begins, start_ms, span_ms, nuisances, SPREADING in mechanisms)
            except NeverRunsAwayError:
                continue
            return
        raise ValueError(f"faults={faults} ({', '.join(begins)}) of {modules} modules never run away: ask for fewer")

    def _draw(
        self,
        modules: int,
        seed: int,
        faults: int,
        begins: list[str],
        start_ms: int,
        span_ms: int,
        nuisances: float,
        spreads: bool,
    ) -> None:
        build = self._build
        self.seed, self.next_ms = seed, start_ms
        self.rack_ids = [rack_name(i // MODULES_PER_RACK) for i in range(modules)]
        self.module_ids = module_names(modules)
        rack_size = 1 if build.bench else MODULES_PER_RACK
        self._rack = np.arange(modules) // rack_size
        self._sensing = Sensing(modules, seed, bench=build.bench)
        self._traits = draw_traits(self._rack, build.cell, np.random.default_rng([seed, 0]), bench=build.bench)
        first_ms = (start_ms - LEAD_MS) // MINUTE_MS * MINUTE_MS
        drawn = draw_nuisances(
            float(nuisances), self._rack, start_ms, span_ms, np.random.default_rng([seed, 4]), bench=build.bench
        )
        shorts = [one for one in drawn if one.kind in SHORTS]
        self._disturbances: list[Disturbance] = [one for one in drawn if one.kind not in SHORTS]
        self._stuck: dict[int, NDArray[np.float64]] = {}
        forced = forced_by(self._disturbances, self._rack)
        ran = Ran([], [], [], [])
        if faults or shorts:
            noise = self._sensing.accuracy.noise
            world = World(
                self._site(first_ms, forced),
                self._traits,
                build,
                first_ms,
                start_ms + span_ms + 4 * _AFTERMATH_MS,
                (noise[AVG], noise[VOLTAGE], noise[GAS.start]),
            )
            rng = np.random.default_rng([seed, 1])
            ran = run_events(world, self._rack, faults, begins, shorts, start_ms, span_ms, rng, spreads=spreads)
        self.events, self.faults = ran.events, ran.faults
        self.nuisances = sorted([*listed(self._disturbances), *ran.nuisances], key=lambda n: (n.start_ts, n.module))
        deaths = np.random.default_rng([seed, 5])
        self._dies = [
            None if e.no_return_ms is None else death_ms(e.no_return_ms, deaths, bench=build.bench) for e in self.events
        ]
        self._cells = usual_cells(modules, build.series, np.random.default_rng([seed, 8]))
        self._share = np.random.default_rng([seed, 6]).uniform(0.5, 1, modules)
        self._live = self._site(first_ms, [*forced, *self._trips()])
        self._modules = self._warmed_up(first_ms, start_ms, ran.overrides)
        self._block_steps = max(1, min(_BLOCK_STEPS, _BLOCK_READINGS // modules))
        self._blocks = 0
        self._made_ms = start_ms
        self._ready: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._given = 0

    def _trips(self) -> Iterator[Forced]:
        """A burning module opens its rack's contactors."""
        for fault in self.faults:
            at_ms = (fault.no_return_ts + _TRIP_MS) // MINUTE_MS * MINUTE_MS
            yield Forced(int(self._rack[fault.module]), at_ms, _END_OF_TIME_MS, 0.0)

    def _warmed_up(self, first_ms: int, start_ms: int, overrides: list[Override]) -> Modules:
        """Modules in their state at the start, after some hours of load."""
        warm = Modules(self._build.cell, self._traits, MINUTE_MS, overrides)
        begin = start_ms - _WARM_UP_MS
        warm.run(np.arange(begin, start_ms, MINUTE_MS), self._live.minutes(first_ms, start_ms), None)
        return warm.at_period(self.period_ms)

    def _site(self, first_ms: int, forced: list[Forced]) -> Site:
        racks = int(self._rack.max()) + 1
        return Site(racks, first_ms, np.random.default_rng([self.seed, 7]), bench=self._build.bench, forced=forced)

    def cells(self, step: Step) -> NDArray[np.int64]:
        """Index of the cell with the lowest and highest voltage, the coldest and the hottest, [modules, 4]."""
        return with_events(self._cells, step.ts, self.events)

    def steps(self, n: int | None = None) -> Iterator[Step]:
        """The next `n` steps (endless if None). `steps(2)` twice gives the same as `steps(4)`."""
        done = 0
        while n is None or done < n:
            ts, values = self._take(1)
            done += 1
            yield Step(ts[0], values[0])

    def block(self, steps: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The next `steps` steps at once: ts [steps, modules] and values [steps, modules, 13]."""
        taken = []
        while steps > 0:
            taken.append(self._take(steps))
            steps -= len(taken[-1][0])
        return np.concatenate([ts for ts, _ in taken]), np.concatenate([values for _, values in taken])

    def _take(self, steps: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """At most `steps` steps: what is left of the current block, or the beginning of a new one."""
        if not self._ready:
            self._ready, self._given = [self._make()], 0
        ts, values = self._ready[0]
        taken = slice(self._given, self._given + steps)
        self._given += steps
        if self._given >= len(ts):
            self._ready = []
        self.next_ms += self.period_ms * len(ts[taken])
        return ts[taken], values[taken]

    def _make(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rng = np.random.default_rng([self.seed, 2, self._blocks])
        ts = self._made_ms + np.arange(self._block_steps, dtype=np.int64) * self.period_ms
        self._blocks += 1
        self._made_ms = int(ts[-1]) + self.period_ms
        done = self._modules.run(ts, self._live.minutes(int(ts[0]), int(ts[-1])), rng)
        values = measured(
            done,
            self._traits,
            self._build.series,
            self._capacity_ah,
            self._sensing.gas_ppm(ts),
            self._build.cell.chemistry,
        )
        for one in self.events:
            beside = np.flatnonzero((self._rack == self._rack[one.module]) & (np.arange(len(self._rack)) != one.module))
            lay(one, values, ts, beside, self._share[beside])
        disturb(values, ts, self._disturbances)
        self._sensing.blur(values, rng)
        stuck(values, ts, self._disturbances, self._stuck)
        self._sensing.lose(values, ts, rng)
        for one, dies in zip(self.events, self._dies, strict=True):
            if dies is not None and ts[-1] >= dies.min():
                values[:, one.module][ts[:, None] >= dies] = np.nan
        # Never after the nominal time, and less than a period before it, so that a module's time always advances.
        late = rng.integers(0, min(_JITTER_MS, self.period_ms // 4) + 1, values.shape[:2])
        return ts[:, None] - late, values
