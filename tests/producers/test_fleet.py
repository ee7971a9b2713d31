import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from producers.fleet import CAPACITY_AH, CELLS_IN_SERIES, SENSORS, Fleet, rack_name
from producers.runaway import Fault
from worker.pipeline import load_pipeline
from worker.validate import bounds

START_MS = 1_750_000_000_000
SIX_HOURS_MS = 6 * 3_600_000
STEPS = SIX_HOURS_MS // 10_000
AVG, MAX, VOLTAGE, CURRENT, SOC, CO, H2, VOC, AMBIENT = range(9)


def fleet(modules: int = 16, seed: int = 7, faults: int = 0, span_ms: int = SIX_HOURS_MS) -> Fleet:
    return Fleet(modules, seed, faults=faults, start_ms=START_MS, span_ms=span_ms)


def values(of: Fleet, steps: int = STEPS) -> NDArray[np.float64]:
    return np.stack([step.values for step in of.steps(steps)])


@pytest.fixture(scope="module")
def failing() -> tuple[Fleet, NDArray[np.float64]]:
    # Three hours more than the faults' span: what comes after counts too.
    of = fleet(modules=64, faults=12)
    return of, values(of, STEPS + 1080)


def test_sensors_are_those_of_the_record_and_the_topology_that_of_the_pipeline() -> None:
    pipeline = load_pipeline("battery_hazard")
    assert pipeline.input.sensors() == SENSORS
    assert pipeline.topology.default == {"cells_in_series": CELLS_IN_SERIES, "capacity_ah": CAPACITY_AH}


def test_modules_stand_in_racks_of_eight() -> None:
    of = fleet(modules=17)
    assert of.module_ids[0] == "RackA1_Module01"
    assert of.module_ids[7:9] == ["RackA1_Module08", "RackA2_Module01"]
    assert of.rack_ids[16] == "RackA3"
    assert len(set(of.module_ids)) == 17


def test_rack_names_go_on_after_z() -> None:
    names = [rack_name(i) for i in range(4 * 26 * 27)]
    assert names[4 * 26 - 1 : 4 * 26 + 1] == ["RackZ4", "RackAA1"]
    assert len(set(names)) == len(names)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 30), max_size=5), seed=st.integers(0, 2**31))
def test_readings_do_not_depend_on_how_the_run_is_cut(cuts: list[int], seed: int) -> None:
    def short() -> Fleet:
        return Fleet(8, seed, faults=2, start_ms=START_MS, span_ms=600_000)

    whole, pieces = short(), short()
    expected = list(whole.steps(sum(cuts)))
    got = [step for cut in cuts for step in pieces.steps(cut)]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(one.ts, other.ts)
        np.testing.assert_array_equal(one.values, other.values)
    assert whole.faults == pieces.faults


def test_another_seed_gives_other_readings() -> None:
    assert not np.array_equal(values(fleet(seed=1), 5), values(fleet(seed=2), 5), equal_nan=True)


def test_event_time_advances_by_the_period() -> None:
    of = Fleet(2, 0, start_ms=START_MS, period_ms=1_000)
    assert [step.ts.tolist() for step in of.steps(3)] == [[START_MS + k * 1000] * 2 for k in range(3)]


@pytest.mark.parametrize("seed", range(4))
def test_healthy_modules_stay_in_the_range_of_normal_operation(seed: int) -> None:
    seen = values(fleet(modules=64, seed=seed), 8640)[::7]
    assert np.nanmin(seen[..., AVG]) > 5
    assert np.nanmax(seen[..., MAX]) < 70
    assert np.nanmin(seen[..., VOLTAGE]) > 14 * 2.9
    assert np.nanmax(seen[..., VOLTAGE]) < 14 * 4.3
    assert np.nanmax(np.abs(seen[..., CURRENT])) < 2.6 * CAPACITY_AH
    assert np.nanmin(seen[..., SOC]) >= 0
    assert np.nanmax(seen[..., SOC]) <= 100
    assert 16 < np.nanmean(seen[..., CO]) < 28
    assert 10 < np.nanmean(seen[..., AMBIENT]) < 36


def test_state_of_charge_is_the_integral_of_current() -> None:
    seen = values(fleet(modules=8), 8640)
    current, soc = seen[..., CURRENT], seen[..., SOC]
    charged = np.nancumsum(current, axis=0) * (10 / 3600) / CAPACITY_AH * 100
    inside = (soc > 1) & (soc < 99)
    drift = np.where(inside, soc - charged, np.nan)
    assert np.all(np.nanstd(drift, axis=0) < 1.5)


def test_about_one_value_in_two_thousand_is_missing_and_some_sensors_for_minutes() -> None:
    missing = np.isnan(values(fleet(modules=64, seed=3)))
    assert 0.0004 < missing.mean() < 0.003
    runs = missing[:-6] & missing[1:-5] & missing[2:-4] & missing[3:-3] & missing[4:-2] & missing[5:-1]
    assert runs.any()


def test_every_fault_reaches_the_point_of_no_return_after_its_onset(
    failing: tuple[Fleet, NDArray[np.float64]],
) -> None:
    of, _ = failing
    assert len({fault.module for fault in of.faults}) == 12
    for fault in of.faults:
        assert 12 * 60_000 < fault.no_return_ts - fault.onset_ts < 50 * 60_000
        assert START_MS < fault.no_return_ts < START_MS + SIX_HOURS_MS
    spread = sorted(fault.no_return_ts for fault in of.faults)
    assert spread[-1] - spread[0] > SIX_HOURS_MS / 3


def window(of: Fleet, fault: Fault, seen: NDArray[np.float64], minutes_from: float, minutes_to: float) -> NDArray:
    """Readings of a fault's module, minutes relative to its point of no return."""
    at = (fault.no_return_ts - START_MS) / 10_000
    return seen[max(0, round(at + minutes_from * 6)) : round(at + minutes_to * 6), fault.module]


def test_a_fault_is_slow_then_exponential_then_violent(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    for fault in of.faults:
        first = np.nanmean(window(of, fault, seen, -10, -9)[:, MAX])
        middle = np.nanmean(window(of, fault, seen, -5, -4)[:, MAX])
        last = np.nanmean(window(of, fault, seen, -1, 0)[:, MAX])
        assert first < middle < last < 150
        assert last - middle > middle - first
        after = window(of, fault, seen, 0, 2)[:, :2]
        assert np.isnan(after).all() or np.nanmax(after) > 200


def test_before_the_point_of_no_return_no_reading_is_past_it(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    for fault in of.faults:
        before = window(of, fault, seen, -30, 0)[:-1, MAX]
        assert np.nanmax(before) < 151  # noise included


def test_voltage_sags_before_and_collapses_after(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    for fault in of.faults:
        assert np.nanmin(window(of, fault, seen, -1, 0)[:, VOLTAGE]) > 40
        after = window(of, fault, seen, 2, 5)[:, VOLTAGE]
        assert np.isnan(after).all() or np.nanmax(after) < 5


def test_some_faults_vent_minutes_before_and_others_only_with_the_runaway(
    failing: tuple[Fleet, NDArray[np.float64]],
) -> None:
    of, seen = failing
    assert {fault.vents_early for fault in of.faults} == {True, False}
    for fault in of.faults:
        before = np.nanmean(window(of, fault, seen, -1, 0)[:, VOC])
        assert (before > 100) == fault.vents_early


def test_sensors_die_in_the_fire(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    dead = [np.isnan(window(of, fault, seen, 10, 60)).all(axis=0) for fault in of.faults]
    assert 0.5 < np.mean(dead) < 1
    assert any(module.all() for module in dead)


@pytest.mark.parametrize("span_s", [60, 900, 3600])
def test_faults_of_a_short_run_still_happen_within_it(span_s: int) -> None:
    of = fleet(modules=8, faults=3, span_ms=span_s * 1000)
    mid = START_MS + 0.6 * span_s * 1000
    assert len(of.faults) == 3
    # The time a fault takes is physics, not schedule: it may come some minutes off its appointed time.
    assert all(abs(fault.no_return_ts - mid) < 0.3 * span_s * 1000 + 8 * 60_000 for fault in of.faults)


def test_all_values_lie_in_the_declared_ranges(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    _, seen = failing
    model = load_pipeline("battery_hazard").input.record_model()
    for i, sensor in enumerate(SENSORS):
        low, high = bounds(model, sensor)
        assert low <= np.nanmin(seen[..., i])
        assert np.nanmax(seen[..., i]) <= high


def test_two_thousand_modules_are_faster_than_fifty_times_real_time() -> None:
    of = fleet(modules=2000, faults=20)
    began = time.process_time()
    values(of, 20)
    assert time.process_time() - began < 20 * 10 / 50


@pytest.mark.parametrize("wrong", [{"modules": 0}, {"faults": 9, "modules": 8}, {"span_ms": 0}])
def test_an_impossible_fleet_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="modules="):
        fleet(**wrong)
