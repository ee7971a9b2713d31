"""From simulated events to the number that could be alarmed in time at best."""

from dataclasses import replace

import numpy as np
import pytest

from common.times import DAY_MS, HOUR_MS
from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.plant.sensing import HOT_CELL, LOW_CELL_V
from pipelines.battery_hazard.training.datasets.series import SimulatedSite
from pipelines.battery_hazard.training.evaluation.known_fault import signal_of
from pipelines.battery_hazard.training.study.findings import FULL, NO_GAS
from pipelines.battery_hazard.training.study.limit import chances, columns_of, limits

NORMAL = [SimulatedSite(seed, modules=4, faults=0, hours=2, nuisances=0.0) for seed in range(1, 4)]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(36, 5, faults=3, mechanisms=("internal_short",), start_ms=1_750_000_000_000, span_ms=4 * HOUR_MS)


def test_the_signal_of_an_event_is_what_the_simulator_adds(fleet: Fleet) -> None:
    event = next(one for one in fleet.events if one.mechanism == "internal_short")
    ts = event.onset_ms + np.array([-10_000, 0, 3 * event.grid_ms])
    signal = signal_of(event, ts)
    assert (signal[0] == 0).all()
    assert signal[2, HOT_CELL] == pytest.approx(event.hot_c[3])
    assert signal[2, LOW_CELL_V] == pytest.approx(event.low_v[3])


def test_faults_are_judged_five_minutes_ahead_on_the_sensors_of_the_module(fleet: Fleet) -> None:
    found = [one for one in chances(fleet, 4) if one.slow]
    fault = fleet.faults[0]
    assert {one.mechanism for one in found} == {"internal_short"}
    assert len([one for one in found if one.sensors == FULL]) <= len(fleet.faults)
    assert all(0 < one.level < 1e-3 for one in found)
    span_ms = fault.no_return_ts - 300_000 - fault.onset_ts
    first = next(one for one in found if one.sensors == FULL)
    assert first.level == pytest.approx(1e-3 * span_ms / 86_400_000, rel=0.02)


def test_a_bank_finds_no_more_than_is_possible(fleet: Fleet) -> None:
    found = [replace(one, signal=one.signal / 10) for one in chances(fleet, 4)]
    told: list[int] = []
    rows = limits(found, NORMAL, lambda _stage, done, _total: told.append(done))
    assert told == [2, 3]
    assert {row["sensors"] for row in rows} >= {FULL, NO_GAS}
    for row in rows:
        assert row.get("by_bank", 0) <= row["at_most"] <= row["events"]
        assert row.get("bank_module_days", 0.1) == pytest.approx(4 * (2 * HOUR_MS - 290_000) / DAY_MS, abs=0.05)


def test_a_set_without_gas_has_no_gas_columns() -> None:
    assert set(columns_of(FULL)) - set(columns_of(NO_GAS)) == {5, 6, 7}
