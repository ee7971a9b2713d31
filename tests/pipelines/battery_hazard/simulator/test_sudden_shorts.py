"""Sudden shorts of a fleet: some run away, the others heat a cell and decay."""

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING, SUDDEN
from pipelines.battery_hazard.simulator.events.sudden_draws import runaway_chance
from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.plant.sensing import AVG, MAX

pytestmark = pytest.mark.xdist_group("fleet")

START_MS = 1_750_000_000_000


@pytest.mark.slow  # simulates many shorts
@pytest.mark.parametrize(
    ("cells", "capacity_ah", "chemistry"),
    [(1, 5.0, "nmc"), (1, 15.0, "lfp"), (14, 100.0, "nmc")],
    ids=["bench", "LFP", "racks"],
)
def test_those_that_run_away_get_hot_and_those_that_decay_stay_below_120(
    cells: int, capacity_ah: float, chemistry: str
) -> None:
    of = Fleet(
        24,
        3,
        faults=4,
        start_ms=START_MS,
        span_ms=3_600_000,
        period_ms=1_000,
        mechanisms=(SUDDEN,),
        cells_in_series=cells,
        capacity_ah=capacity_ah,
        chemistry=chemistry,
    )
    ts, seen = of.block(3600)
    hottest = np.fmax(seen[..., AVG], seen[..., MAX])

    def peak_c(module: int, onset_ms: int) -> float:
        at = int(np.searchsorted(ts[:, module], onset_ms))
        return float(np.nanmax(hottest[at : at + 120, module]))

    decaying = [n for n in of.nuisances if n.kind == DECAYING]
    assert len(of.faults) == 4
    assert decaying
    assert min(peak_c(f.module, f.onset_ts) for f in of.faults) > 90
    assert max(peak_c(n.module, n.start_ts) for n in decaying) < 120
    assert all(0 <= f.no_return_ts - f.onset_ts <= 1000 for f in of.faults)


def test_a_charged_large_cell_runs_away_rather_than_an_empty_small_or_cooled_one() -> None:
    free, cooled = np.array([False]), np.array([True])
    full, empty = np.array([95.0]), np.array([10.0])
    chance = runaway_chance(full, 5.0, free, "nmc")
    assert chance > 0.95
    assert runaway_chance(empty, 5.0, free, "nmc") < 0.1
    assert runaway_chance(full, 1.0, cooled, "nmc") < 0.5
    assert runaway_chance(full, 15.0, free, "lfp") < 0.5
