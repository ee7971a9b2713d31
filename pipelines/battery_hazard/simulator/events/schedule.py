"""Runs the physics of all events of a fleet: faults, their spread to neighbours, and shorts that do not run away."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.event import Event
from pipelines.battery_hazard.simulator.events.faults import LEAD_MS, World, run_faults, spread
from pipelines.battery_hazard.simulator.events.first_signs import truth
from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING, SUDDEN, Fault, Nuisance
from pipelines.battery_hazard.simulator.events.mechanisms import Int
from pipelines.battery_hazard.simulator.events.nuisances import Disturbance
from pipelines.battery_hazard.simulator.events.soft_shorts import run_soft_shorts
from pipelines.battery_hazard.simulator.events.sudden_shorts import decaying_beside, run_sudden_shorts
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
    shorts: list[Disturbance],
    start_ms: int,
    span_ms: int,
    rng: np.random.Generator,
    *,
    spreads: bool,
) -> Ran:
    """Draw and run the faults, then their spread to neighbours, then the shorts that do not run away.

    Args:
        world: the site and modules.
        rack: rack of each module, shape [modules].
        faults: number of modules that fail.
        mechanisms: mechanisms that can start a fault.
        shorts: drawn nuisances of the kinds `soft_short` and `decaying_short`.
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
    is_sudden = np.array([m == SUDDEN for m in mechanism], np.bool_)
    sudden = np.flatnonzero(is_sudden)
    others = [m for m in mechanism if m != SUDDEN]
    events, overrides = run_faults(world, order[:faults][~is_sudden], others, target[~is_sudden], rng)
    begun, charged = run_sudden_shorts(world, order[sudden], target[sudden], np.ones(sudden.size, np.bool_), rng)
    events, overrides = [*events, *begun], [*overrides, *charged]
    caught, warmed = spread(world, events, MODULES_PER_RACK, rng) if spreads and not world.build.bench else ([], [])
    burning = {e.module for e in (*events, *caught, *warmed)}
    safe = [one for one in shorts if int(one.modules[0]) not in burning]
    shorted = run_soft_shorts(world, [one for one in safe if one.kind != DECAYING], rng)
    taken = burning | {e.module for e in shorted}
    free = np.array([m for m in order.tolist() if m not in taken], np.int64)
    decayed, emptied = _decaying(world, safe, sudden.size, free, (start_ms, span_ms), rng)
    return Ran(
        [*events, *caught, *warmed, *shorted, *decayed],
        sorted((truth(e, world) for e in (*events, *caught)), key=lambda f: (f.onset_ts, f.module)),
        [Nuisance(e.module, "neighbour_heat", e.onset_ms, e.end_ms) for e in warmed]
        + [Nuisance(e.module, "soft_short", e.onset_ms, e.end_ms) for e in shorted]
        + [Nuisance(e.module, DECAYING, e.onset_ms, e.end_ms) for e in decayed],
        [*overrides, *emptied],
    )


def _decaying(
    world: World, drawn: list[Disturbance], runaways: int, free: Int, span: tuple[int, int], rng: np.random.Generator
) -> tuple[list[Event], list[Override]]:
    """Sudden shorts that decay: those drawn as nuisances, and those that come with the ones that run away."""
    beside = decaying_beside(runaways, len(free), rng)
    onset = {m: span[0] + int(rng.uniform(0.1, 0.95) * span[1]) for m in free[:beside].tolist()}
    onset |= {int(one.modules[0]): one.start_ms for one in drawn if one.kind == DECAYING and one.modules[0] in free}
    modules = np.array(sorted(onset), np.int64)
    # Not on the minute: it matters how long before a reading a sudden event begins.
    at = np.array([max(onset[m], world.first_ms + LEAD_MS // 2) for m in modules.tolist()], np.int64)
    at += rng.integers(0, 60, len(modules)) * 1000
    return run_sudden_shorts(world, modules, at, np.zeros(len(modules), np.bool_), rng)
