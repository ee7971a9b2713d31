"""Internal shorts too weak for a runaway, which warm a module for hours. They are the hardest nuisances."""

import numpy as np

from common.times import MINUTE_MS
from pipelines.battery_hazard.simulator.events.event import Event, event
from pipelines.battery_hazard.simulator.events.faults import World
from pipelines.battery_hazard.simulator.events.mechanisms import draw_causes, make_trials
from pipelines.battery_hazard.simulator.events.nuisances import Disturbance
from pipelines.battery_hazard.simulator.physics.module_model import solve

_HOURS = 6.0
_TRIES = 6


def run_soft_shorts(world: World, drawn: list[Disturbance], rng: np.random.Generator) -> list[Event]:
    """Run each short. One that would run away is weakened until it does not; if that fails, it is left out."""
    done: list[Event] = []
    once = {int(one.modules[0]): one for one in drawn}
    if not once:
        return done
    modules = np.array(sorted(once), np.int64)
    onset = np.array([max(once[m].start_ms, world.first_ms) for m in modules.tolist()]) // MINUTE_MS * MINUTE_MS
    causes = draw_causes(modules, ["soft_short"] * len(modules), world.build, rng)
    lived = world.background(modules, [])
    tables = lived.rows((onset - world.first_ms) // MINUTE_MS, round(_HOURS * 60) + 1)
    pending = np.arange(len(modules))
    for _ in range(_TRIES):
        some = [values[pending] for values in tables]
        trials = make_trials(causes.only(pending), world.build, world.traits.of(modules[pending]), some)
        courses = solve(trials, hours=_HOURS, after_s=0)
        harmless = np.isinf(courses.no_return_s)
        for i in np.flatnonzero(harmless).tolist():
            row = int(pending[i])
            done.append(event(courses, i, causes, row, int(onset[row]), some[1][i], world.build.parallel))
        pending = pending[~harmless]
        if not pending.size:
            break
        causes.strength[pending] /= 1.6
    return done
