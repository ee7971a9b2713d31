"""Labels follow the point of no return and what the sensors can show."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.battery_hazard.simulator.events.ground_truth import Fault, Nuisance
from pipelines.battery_hazard.training.datasets.labels import HAZARD, LEFT_OUT, NORMAL, labels

MINUTE = 60_000


def fault(onset_min: float, sign_min: float, sign_tv_min: float, no_return_min: float) -> Fault:
    onset, sign, sign_tv, no_return = (round(m * MINUTE) for m in (onset_min, sign_min, sign_tv_min, no_return_min))
    return Fault(1, "internal_short", onset, sign, sign_tv, no_return, vents_early=True)


def at(*minutes: float) -> np.ndarray:
    return (np.array(minutes) * MINUTE).astype(np.int64)


def test_a_slow_fault_is_left_out_until_20_minutes_before_the_point_of_no_return() -> None:
    slow = fault(60, 65, 65, 100)
    label = labels(at(59, 60, 79, 80, 99, 100, 109, 110, 200), slow, gas=True)
    assert label.tolist() == [NORMAL, LEFT_OUT, LEFT_OUT, HAZARD, HAZARD, HAZARD, HAZARD, LEFT_OUT, LEFT_OUT]


def test_a_fault_is_no_hazard_before_its_first_sign() -> None:
    quick = fault(90, 94, 96, 100)
    assert labels(at(89, 90, 93, 94, 96), quick, gas=True).tolist() == [NORMAL, LEFT_OUT, LEFT_OUT, HAZARD, HAZARD]


def test_gas_that_no_sensor_measures_is_no_sign() -> None:
    quick = fault(90, 94, 96, 100)
    assert labels(at(94, 96), quick, gas=False).tolist() == [LEFT_OUT, HAZARD]


def test_a_wreck_that_has_cooled_is_no_hazard_any_more() -> None:
    cooled = replace(fault(90, 90, 90, 90), cooled_ts=95 * MINUTE)
    assert labels(at(90, 94, 95, 99), cooled, gas=True).tolist() == [HAZARD, HAZARD, LEFT_OUT, LEFT_OUT]


def test_neighbours_in_the_smoke_of_a_fire_are_left_out() -> None:
    label = labels(at(64, 65, 219, 221), None, gas=True, beside=[fault(60, 65, 65, 100)])
    assert label.tolist() == [NORMAL, LEFT_OUT, LEFT_OUT, NORMAL]


def test_a_module_heated_by_its_neighbour_is_left_out() -> None:
    heat = Nuisance(1, "neighbour_heat", 10 * MINUTE, 20 * MINUTE)
    assert labels(at(9, 10, 20, 141), None, gas=True, warmed=[heat]).tolist() == [NORMAL, LEFT_OUT, LEFT_OUT, NORMAL]


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_all_before_the_onset_is_normal_and_nothing_after_it(times: list[int]) -> None:
    failing = fault(20, 25, 30, 60)
    ts = np.array(times, np.int64)
    label = labels(ts, failing, gas=True)
    assert (label[ts < failing.onset_ts] == NORMAL).all()
    assert (label[ts >= failing.onset_ts] != NORMAL).all()
