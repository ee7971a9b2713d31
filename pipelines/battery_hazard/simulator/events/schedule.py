"""Runs the physics of all events of a fleet: faults, their spread to neighbours, and soft shorts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.faults import Event, World, run_faults, spread
from pipelines.battery_hazard.simulator.events.first_signs import truth
from pipelines.battery_hazard.simulator.events.ground_truth import Fault, Nuisance
from pipelines.battery_hazard.simulator.events.nuisances import Disturbance
from pipelines.battery_hazard.simulator.events.soft_shorts import run_soft_shorts
from pipelines.battery_hazard.simulator.plant.normal import Override

MODULES_PER_RACK = 8


class Ran(NamedTuple):
    """The events of a fleet.

    Attributes:
        events: all events, with their changes of the readings.
        faults: ground truth of the events that run away, ordered by onset.
        nuisances: ground truth of the other events.
        overrides: how modules are charged apart from their rack.
    """

    events: list[Event]
    faults: list[Fault]
    nuisances: list[Nuisance]
    overrides: list[Override]


def run_events(
    world: World,
    rack: NDArray[np.int64],
    faults: int,
    mechanisms: list[str],
    soft_shorts: list[Disturbance],
    start_ms: int,
    span_ms: int,
    rng: np.random.Generator,
    *,
    spreads: bool,
) -> Ran:
    """Draw and run the faults, then their spread to neighbours, then the soft shorts.

    Args:
        world: the site and modules.
        rack: rack of each module, shape [modules].
        faults: number of modules that fail.
        mechanisms: mechanisms that can start a fault.
        soft_shorts: drawn nuisances of this kind.
        start_ms: start of the span over which the points of no return are spread, ms.
        span_ms: length of the span, ms.
        rng: source of randomness.
        spreads: whether a fire may spread to the modules beside it.

    Raises:
        NeverRunsAwayError: a fault does not run away at the highest strength that is tried.
    """
    order = rng.permutation(len(rack))
    # Stratified, so that few faults are spread over the whole span, too, and mechanisms are as even as possible.
    where = (np.arange(faults) + rng.random(faults)) / max(faults, 1)
    target = (start_ms + (0.3 + 0.6 * where) * span_ms).astype(np.int64)
    mechanism = [mechanisms[i % len(mechanisms)] for i in rng.permutation(faults).tolist()]
    events, overrides = run_faults(world, order[:faults], mechanism, target, rng)
    caught, warmed = spread(world, events, MODULES_PER_RACK, rng) if spreads and not world.build.bench else ([], [])
    burning = {e.module for e in (*events, *caught, *warmed)}
    shorted = run_soft_shorts(world, [one for one in soft_shorts if int(one.modules[0]) not in burning], rng)
    return Ran(
        [*events, *caught, *warmed, *shorted],
        sorted((truth(e, world) for e in (*events, *caught)), key=lambda f: (f.onset_ts, f.module)),
        [Nuisance(e.module, "neighbour_heat", e.onset_ms, e.end_ms) for e in warmed]
        + [Nuisance(e.module, "soft_short", e.onset_ms, e.end_ms) for e in shorted],
        overrides,
    )
