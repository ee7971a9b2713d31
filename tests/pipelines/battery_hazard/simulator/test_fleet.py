import time

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS, NUISANCES, Fault
from pipelines.battery_hazard.simulator.fleet import CAPACITY_AH, CELLS_IN_SERIES, SENSORS, Fleet
from pipelines.battery_hazard.simulator.plant.site import rack_name
from tests.flagship import PIPELINE
from worker.config.topology import numbers_in

pytestmark = pytest.mark.xdist_group("fleet")

START_MS = 1_750_000_000_000
SIX_HOURS_MS = 6 * 3_600_000
STEPS = SIX_HOURS_MS // 10_000
AVG, MAX, VOLTAGE, CURRENT, SOC, CO, H2, VOC, AMBIENT = range(9)


def fleet(modules: int = 16, seed: int = 7, faults: int = 0, span_ms: int = SIX_HOURS_MS) -> Fleet:
    return Fleet(modules, seed, faults=faults, start_ms=START_MS, span_ms=span_ms)


def values(of: Fleet, steps: int = STEPS) -> NDArray[np.float64]:
    return of.block(steps)[1]


@pytest.fixture(scope="module")
def failing() -> tuple[Fleet, NDArray[np.float64]]:
    # Three hours more than the faults' span: what comes after counts too.
    of = fleet(modules=160, faults=12)
    return of, of.block(STEPS + 1080)[1]


def test_sensors_are_those_of_the_record_and_the_topology_that_of_the_pipeline() -> None:
    assert set(SENSORS) <= set(PIPELINE.input.sensors())
    assert numbers_in(PIPELINE.topology.default) == {"cells_in_series": CELLS_IN_SERIES, "capacity_ah": CAPACITY_AH}


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


@pytest.mark.slow  # simulates hours of a fleet
def test_readings_do_not_depend_on_how_the_run_is_cut() -> None:
    def short() -> Fleet:
        span_ms = 3 * 3_600_000
        return Fleet(8, 11, faults=1, nuisances=40, mechanisms=("overcharge",), start_ms=START_MS, span_ms=span_ms)

    whole, pieces, single = short(), short(), short()
    ts, expected = whole.block(900)
    got = [pieces.block(cut) for cut in (1, 358, 3, 300, 238)]
    np.testing.assert_array_equal(np.concatenate([values for _, values in got]), expected)
    np.testing.assert_array_equal(np.concatenate([at for at, _ in got]), ts)
    for k, step in enumerate(single.steps(400)):
        np.testing.assert_array_equal(step.values, expected[k])
        np.testing.assert_array_equal(step.ts, ts[k])
    assert whole.faults == pieces.faults
    assert whole.nuisances == pieces.nuisances
    assert pieces.next_ms == START_MS + 900 * 10_000


def test_another_seed_gives_other_readings() -> None:
    assert not np.array_equal(values(fleet(seed=1), 5), values(fleet(seed=2), 5), equal_nan=True)


def test_event_time_advances_by_the_period() -> None:
    of = Fleet(2, 0, start_ms=START_MS, period_ms=1_000)
    ts, _ = of.block(3000)
    late = START_MS + np.arange(3000)[:, None] * 1000 - ts
    assert late.min() == 0
    assert 0 < late.max() <= 200  # clocks of devices are not exact
    assert (np.diff(ts, axis=0) > 0).all()


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
    assert 16 < np.nanmean(seen[..., CO]) < 30
    assert 10 < np.nanmean(seen[..., AMBIENT]) < 36


def test_state_of_charge_follows_the_current() -> None:
    seen = values(fleet(modules=64), 8640)
    current, soc = seen[..., CURRENT], seen[..., SOC]
    charged = np.nancumsum(current, axis=0) * (10 / 3600) / CAPACITY_AH * 100
    for module in range(64):
        inside = (soc[:, module] > 2) & (soc[:, module] < 98)
        if inside.sum() > 1000 and np.ptp(charged[inside, module]) > 10:
            slope = np.polyfit(charged[inside, module], soc[inside, module], 1)[0]
            assert 0.9 < slope < 1.5  # an aged module's charge fills more of it


def test_about_one_value_in_two_thousand_is_missing_and_some_sensors_for_minutes() -> None:
    missing = np.isnan(values(fleet(modules=64, seed=3)))
    assert 0.0004 < missing.mean() < 0.003
    runs = missing[:-6] & missing[1:-5] & missing[2:-4] & missing[3:-3] & missing[4:-2] & missing[5:-1]
    assert runs.any()


@pytest.mark.slow  # simulates hours of a fleet
def test_every_mechanism_yields_events_whose_times_are_in_order(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, _ = failing
    begun = [fault for fault in of.faults if fault.mechanism != "propagation"]
    assert len(begun) == len({fault.module for fault in begun}) == 12
    assert {fault.mechanism for fault in begun} == set(MECHANISMS) - {"propagation"}
    for fault in of.faults:
        assert fault.onset_ts <= fault.first_sign_ts <= fault.first_sign_tv_ts <= fault.no_return_ts
        assert fault.no_return_ts > START_MS
    spread = sorted(fault.no_return_ts for fault in begun)
    assert spread[0] < START_MS + SIX_HOURS_MS * 0.5
    assert spread[-1] > START_MS + SIX_HOURS_MS * 0.7
    assert {fault.vents_early for fault in of.faults} == {True, False}


@pytest.mark.slow  # simulates hours of a fleet
def test_a_fire_spreads_to_neighbours_and_they_to_theirs() -> None:
    of = fleet(modules=64, faults=8, seed=3)
    caught = [fault for fault in of.faults if fault.mechanism == "propagation"]
    assert caught
    for fault in caught:
        beside = [f for f in of.faults if abs(f.module - fault.module) == 1 and f.no_return_ts < fault.no_return_ts]
        assert any(f.module // 8 == fault.module // 8 for f in beside)
    alone = Fleet(64, 3, faults=8, start_ms=START_MS, mechanisms=("hard_short",))
    assert {fault.mechanism for fault in alone.faults} == {"hard_short"}
    assert len(alone.faults) == 8


def window(
    of: Fleet, fault: Fault, seen: NDArray[np.float64], minutes_from: float, minutes_to: float
) -> NDArray[np.float64]:
    """Readings of a fault's module, minutes relative to its point of no return."""
    at = (fault.no_return_ts - START_MS) / 10_000
    return seen[max(0, round(at + minutes_from * 6)) : round(at + minutes_to * 6), fault.module]


@pytest.mark.slow  # simulates hours of a fleet
def test_slow_faults_are_hot_at_the_point_of_no_return_and_none_is_past_it_before(
    failing: tuple[Fleet, NDArray[np.float64]],
) -> None:
    of, seen = failing
    slow = {"internal_short", "overcharge", "external_heating", "cooling_failure"}
    for fault in of.faults:
        before = window(of, fault, seen, -10, 0)[:, MAX]
        if not np.isfinite(before).any():
            continue  # a neighbour's fire took the sensors
        assert np.nanmax(before) < 160  # 150, and what the module's spread and the sensors add
        assert np.nanmax(before) > 80 or fault.mechanism not in slow


@pytest.mark.slow  # simulates hours of a fleet
def test_a_hard_short_gives_no_warning_and_then_no_doubt() -> None:
    of = Fleet(64, 5, faults=6, start_ms=START_MS, mechanisms=("hard_short",))
    _, seen = of.block(STEPS)
    rises = []
    for fault in of.faults:
        assert fault.no_return_ts - fault.first_sign_ts < 10_000
        before, after = (np.nanmax(window(of, fault, seen, *at)[:, MAX]) for at in ((-10, 0), (0, 4)))
        rises.append(after - before)  # before the sensors burn
    assert min(rises) > 1
    assert np.median(rises) > 5


@pytest.mark.slow  # simulates hours of a fleet
def test_gas_warns_of_faults_that_vent_early(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    early = [np.nanmax(window(of, f, seen, -1, 0)[:, VOC]) for f in of.faults if f.vents_early]
    assert early
    assert np.median(early) > 100


@pytest.mark.slow  # simulates hours of a fleet
def test_saturated_gas_sensors_show_the_end_of_their_range(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    _, seen = failing
    assert np.nanmax(seen[..., CO:AMBIENT], axis=(0, 1)).tolist() == [1000, 5000, 10_000]


@pytest.mark.slow  # simulates hours of a fleet
def test_neighbours_in_the_rack_smell_the_gas_and_other_racks_do_not(
    failing: tuple[Fleet, NDArray[np.float64]],
) -> None:
    of, seen = failing
    burning = {fault.module // 8 for fault in of.faults}
    alone = {fault.module for fault in of.faults}
    most = np.nanmax(seen[..., VOC], axis=0)
    for module in set(range(160)) - alone:
        assert (most[module] > 150) == (module // 8 in burning)


@pytest.mark.slow  # simulates hours of a fleet
def test_sensors_die_in_the_fire(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    of, seen = failing
    dead = [np.isnan(window(of, fault, seen, 10, 60)).all(axis=0) for fault in of.faults]
    assert 0.5 < np.mean(dead) < 1
    assert any(module.all() for module in dead)


@pytest.mark.slow  # simulates hours of a fleet
def test_nuisances_of_every_kind_are_listed_and_none_runs_away() -> None:
    of = fleet(modules=64, seed=2)
    troubled = Fleet(64, 2, nuisances=40, start_ms=START_MS)
    assert {n.kind for n in troubled.nuisances} == set(NUISANCES)
    assert troubled.faults == []
    assert all(n.start_ts < n.end_ts for n in troubled.nuisances)
    calm, seen = values(of), values(troubled)
    assert np.nanmax(seen[..., MAX]) < 150
    assert np.nanmax(seen[..., CO]) > np.nanmax(calm[..., CO]) + 20
    assert np.nanmax(seen[..., AMBIENT]) > np.nanmax(calm[..., AMBIENT]) + 3
    assert np.isnan(seen).all(axis=2).sum() > np.isnan(calm).all(axis=2).sum()  # maintenance: powered down


@pytest.mark.slow  # simulates hours of a fleet
def test_cells_on_a_bench_are_cycled_and_tested_to_destruction() -> None:
    bench = Fleet(
        16, 4, faults=8, start_ms=START_MS, span_ms=8 * 3_600_000, cells_in_series=1, capacity_ah=2.6, period_ms=10_000
    )
    _, seen = bench.block(2880)
    lacking = [SOC, CO, H2, VOC, AMBIENT]
    assert np.isnan(seen[..., lacking]).all()
    assert 2.0 < np.nanmin(seen[:60, :, VOLTAGE]) < np.nanmax(seen[:60, :, VOLTAGE]) < 4.7
    assert {fault.mechanism for fault in bench.faults} == {
        "internal_short",
        "hard_short",
        "sudden_short",
        "overcharge",
        "external_heating",
    }
    assert np.nanmax(seen[..., AVG]) > 250
    current = seen[:, np.setdiff1d(np.arange(16), [fault.module for fault in bench.faults]), CURRENT]
    assert 0.4 * 2.6 < np.nanmax(np.abs(current)) < 3.2 * 2.6


@pytest.mark.slow  # simulates hours of a fleet
@pytest.mark.parametrize("period_ms", [1_000, 10_000, 60_000])
def test_any_period_shows_the_same_physics(period_ms: int) -> None:
    of = Fleet(8, 6, faults=1, start_ms=START_MS, span_ms=7_200_000, period_ms=period_ms, mechanisms=("overcharge",))
    fault = of.faults[0]
    assert fault == Fleet(8, 6, faults=1, start_ms=START_MS, span_ms=7_200_000, mechanisms=("overcharge",)).faults[0]
    ts, seen = of.block(int((fault.no_return_ts - START_MS) / period_ms))
    assert np.nanmax(seen[-3:, fault.module, VOLTAGE]) > 14 * 4.3
    assert ts[-1].max() < fault.no_return_ts


@pytest.mark.slow  # simulates hours of a fleet
@pytest.mark.parametrize("span_s", [60, 5400])
def test_faults_of_a_short_run_still_happen_within_it(span_s: int) -> None:
    of = fleet(modules=8, faults=3, span_ms=span_s * 1000)
    mid = START_MS + 0.6 * span_s * 1000
    begun = [fault for fault in of.faults if fault.mechanism != "propagation"]
    assert len(begun) == 3
    # The time a fault takes is physics, not schedule: it may come some minutes off its appointed time.
    assert all(abs(fault.no_return_ts - mid) < 0.3 * span_s * 1000 + 15 * 60_000 for fault in begun)


@pytest.mark.slow  # simulates hours of a fleet
def test_all_values_lie_in_the_declared_ranges(failing: tuple[Fleet, NDArray[np.float64]]) -> None:
    _, seen = failing
    for i, sensor in enumerate(SENSORS):
        rules = PIPELINE.input.rules(sensor)
        assert rules.low <= np.nanmin(seen[..., i])
        assert np.nanmax(seen[..., i]) <= rules.high


def test_a_thousand_modules_are_far_faster_than_real_time() -> None:
    of = fleet(modules=1000)
    of.block(200)
    began = time.process_time()
    of.block(200)
    assert 200 * 1000 / (time.process_time() - began) > 180_000  # 10,000 module-days in 8 minutes


@pytest.mark.parametrize("wrong", [{"modules": 0}, {"faults": 9, "modules": 8}, {"span_ms": 0}])
def test_an_impossible_fleet_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="modules="):
        fleet(**wrong)


def test_an_unknown_mechanism_is_refused() -> None:
    with pytest.raises(ValueError, match="choose from"):
        Fleet(8, 0, faults=1, start_ms=START_MS, mechanisms=("witchcraft",))
    with pytest.raises(ValueError, match="choose from"):
        Fleet(8, 0, faults=1, start_ms=START_MS, mechanisms=("cooling_failure",), cells_in_series=1, capacity_ah=2.6)
