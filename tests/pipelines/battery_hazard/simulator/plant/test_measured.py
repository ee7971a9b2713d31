"""What sensors read of the cells of a module in normal operation."""

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.fleet import CELLS_IN_SERIES, Fleet
from pipelines.battery_hazard.simulator.plant.sensing import (
    AVG,
    COLD_CELL,
    HIGH_CELL_V,
    HOT_CELL,
    LOW_CELL_V,
    MAX,
    VOLTAGE,
)

START_MS = 1_750_000_000_000


def test_lowest_and_highest_cell_lie_around_the_mean() -> None:
    seen = Fleet(64, 7, start_ms=START_MS).block(1080)[1]
    mean_v = seen[..., VOLTAGE] / CELLS_IN_SERIES
    below, above = mean_v - seen[..., LOW_CELL_V], seen[..., HIGH_CELL_V] - mean_v
    for apart in (below, above):
        assert 0.001 < np.nanmean(apart) < 0.05
    assert np.nanmean(seen[..., COLD_CELL] < seen[..., AVG]) > 0.95
    assert abs(np.nanmean(seen[..., HOT_CELL] - seen[..., MAX])) < 0.05


def test_one_cell_is_its_own_lowest_and_highest() -> None:
    seen = Fleet(8, 1, start_ms=START_MS, cells_in_series=1, capacity_ah=2.6).block(60)[1]
    np.testing.assert_array_equal(seen[..., LOW_CELL_V], seen[..., VOLTAGE])
    np.testing.assert_array_equal(seen[..., HIGH_CELL_V], seen[..., VOLTAGE])
    assert (seen[..., AVG] == seen[..., MAX]).all(axis=0).any()  # most benches have one thermometer


@pytest.mark.parametrize(("chemistry", "low_v", "high_v"), [("nmc", 2.7, 4.4), ("lfp", 2.0, 3.65), ("lto", 1.5, 2.9)])
def test_cells_of_each_chemistry_stay_in_its_range(chemistry: str, low_v: float, high_v: float) -> None:
    of = Fleet(32, 1, start_ms=START_MS, cells_in_series=1, capacity_ah=5.0, chemistry=chemistry, period_ms=60_000)
    volts = of.block(1440)[1][..., VOLTAGE]
    lowest, highest = np.quantile(volts, (0.001, 0.999))
    assert low_v <= lowest < highest - 0.4
    assert highest <= high_v
