"""Labels follow the ground truth; sites lack sensors; nothing but whole fleets is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fleet import SENSORS
from producers.truth import Fault
from training.battery import FEATURES, SITES
from training.dataset import HAZARD, LEFT_OUT, NORMAL, LabelledFleet, labels, lacking_sensors, simulate_fleet

MINUTE = 60_000


def fault(module: int, onset_min: float, no_return_min: float, *, vents_early: bool = False) -> Fault:
    onset, no_return = round(onset_min * MINUTE), round(no_return_min * MINUTE)
    return Fault(module, "internal_short", onset, onset, onset, no_return, vents_early=vents_early)


def test_a_slow_fault_is_left_out_until_20_minutes_before_the_point_of_no_return() -> None:
    slow = fault(1, 60, 100, vents_early=True)
    minutes = np.array([59, 60, 79, 80, 99, 100, 109, 110, 200])
    expected = [NORMAL, LEFT_OUT, LEFT_OUT, HAZARD, HAZARD, HAZARD, HAZARD, LEFT_OUT, LEFT_OUT]
    assert labels(np.ones(9, np.int64), minutes * MINUTE, [slow]).tolist() == expected


def test_a_quick_fault_is_no_hazard_before_it_began() -> None:
    quick = fault(0, 90, 100)
    minutes = np.array([85, 89, 90, 95])
    assert labels(np.zeros(4, np.int64), minutes * MINUTE, [quick]).tolist() == [NORMAL, NORMAL, HAZARD, HAZARD]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**7)), max_size=30))
def test_modules_without_fault_are_normal_always(readings: list[tuple[int, int]]) -> None:
    failing = fault(2, 10**6 / MINUTE, 4 * 10**6 / MINUTE)
    key, ts = (np.array(column, np.int64) for column in (zip(*readings, strict=True) if readings else ([], [])))
    label = labels(key, ts, [failing])
    assert (label[(key != 2) | (ts < failing.onset_ts)] == NORMAL).all()
    assert (label[(key == 2) & (ts >= failing.onset_ts)] != NORMAL).all()


def test_sites_lack_sensors_by_their_shares() -> None:
    lacking = lacking_sensors(20_000, np.random.default_rng(0))
    without_gas = sum(share for share, absent in SITES.values() if "offgas_co_ppm" in absent)
    assert lacking[:, SENSORS.index("offgas_co_ppm")].mean() == pytest.approx(without_gas, abs=0.02)
    assert not lacking[:, SENSORS.index("avg_surface_temp_c")].any()
    assert sum(share for share, _ in SITES.values()) == pytest.approx(1)


@pytest.fixture(scope="module")
def fleet() -> LabelledFleet:
    return simulate_fleet(5, modules=240, faults=6, healthy=30, hours=1.5)


def test_a_fleet_holds_its_faulty_modules_and_some_healthy_ones(fleet: LabelledFleet) -> None:
    faulty = {fault.module for fault in fleet.faults}
    assert len(faulty) >= 6  # neighbours may catch fire
    assert set(fleet.key.tolist()) >= faulty
    assert len(set(fleet.key.tolist())) == len(faulty) + 30
    assert (np.diff(fleet.ts) >= 0).all()
    assert set(np.unique(fleet.label[fleet.key == fleet.faults[0].module])) >= {HAZARD}


def test_a_sensor_that_a_site_lacks_is_missing_throughout(fleet: LabelledFleet) -> None:
    gas = fleet.features[:, SENSORS.index("offgas_h2_ppm")]
    by_module = {bool(np.isnan(gas[fleet.key == k]).all()) for k in set(fleet.key.tolist())}
    assert by_module == {True, False}


def test_normal_operation_covers_hard_use_per_cell_and_as_c_rate(fleet: LabelledFleet) -> None:
    normal = fleet.features[fleet.label == NORMAL]
    column = {name: normal[:, i] for i, name in enumerate(FEATURES.names)}
    assert np.nanmax(np.abs(column["current_a"])) > 1.2
    assert np.nanmax(np.abs(column["current_a"])) < 2.5
    assert 2.8 < np.nanmin(column["voltage_v"]) < np.nanmax(column["voltage_v"]) < 4.4


def test_the_same_seed_gives_the_same_fleet() -> None:
    first, again, other = (simulate_fleet(s, modules=8, faults=1, healthy=3, hours=0.2) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.label, again.label)
    assert first.ts[0] != other.ts[0]
