"""The single cell against published facts: see docs/physics.md for the sources."""

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.physics.abuse import ANODE, CATHODE, HEAT_J_M3, SEI, START, fresh, react
from pipelines.battery_hazard.simulator.physics.cell import (
    CYLINDRICAL_18650,
    cell_of,
    open_circuit_voltage_v,
    resistance_factor,
)
from pipelines.battery_hazard.simulator.physics.single import critical_oven_c, heat_cells


@pytest.mark.slow  # integrates hours of physics
def test_the_critical_oven_is_within_3_degrees_of_the_published_148() -> None:
    assert critical_oven_c() == pytest.approx(148, abs=3)


@pytest.mark.slow  # integrates hours of physics
def test_a_cell_survives_an_oven_of_145_degrees_and_not_one_of_155() -> None:
    tested = heat_cells(np.array([140.0, 145.0, 155.0, 160.0]))
    assert np.isinf(tested.runaway_s).tolist() == [True, True, False, False]
    assert tested.temp_c[:, :2].max() < 200
    assert tested.temp_c[:, 2:].max() > 450
    # Classic tests see it go off within about an hour, sooner in the hotter oven.
    assert 600 < tested.runaway_s[3] < tested.runaway_s[2] < 3600


@pytest.mark.slow  # integrates hours of physics
def test_the_knee_of_an_internal_short_lies_between_7_and_10_watts() -> None:
    power = np.array([3.0, 7.0, 10.0, 30.0])
    tested = heat_cells(np.full(4, 25.0), power_w=power)
    never, slow, quick = tested.runaway_s[:2], tested.runaway_s[2], tested.runaway_s[3]
    assert np.isinf(never).all()
    assert slow == pytest.approx(16.5 * 60, rel=0.05)
    hot_s = tested.time_s[np.argmax(tested.temp_c[:, 3] > 130)]
    assert hot_s < 2.8 * 60 < quick < 4 * 60


@pytest.mark.slow  # integrates hours of physics
def test_the_sei_goes_before_the_anode_and_the_anode_before_the_cathode() -> None:
    tested = heat_cells(np.array([155.0]))
    left = tested.contents[:, :, 0]
    used = np.stack([1 - left[:, SEI] / START[SEI], 1 - left[:, ANODE] / START[ANODE], left[:, CATHODE]], axis=1)
    used[:, 2] = (used[:, 2] - START[CATHODE]) / (1 - START[CATHODE])
    when = [tested.time_s[np.argmax(used[:, i] > 0.1)] for i in range(3)]
    assert when[0] < when[1] < when[2]


@pytest.mark.slow  # integrates hours of physics
def test_the_heat_released_is_that_of_what_was_consumed() -> None:
    tested = heat_cells(np.array([165.0]))
    all_of_it = np.array([0.15, 0.75, 0.96, 1.0]) * HEAT_J_M3 * CYLINDRICAL_18650.volume_m3
    # The SEI that grows on it protects part of the anode for as long as the test lasts.
    consumed = np.abs(START - tested.contents[-1, :4, 0]) * HEAT_J_M3 * CYLINDRICAL_18650.volume_m3
    np.testing.assert_allclose(tested.heat_j[:, 0], consumed, rtol=1e-6)
    np.testing.assert_allclose(tested.heat_j[[SEI, CATHODE], 0], all_of_it[[SEI, CATHODE]], rtol=1e-3)
    assert (tested.heat_j[:, 0] <= all_of_it * (1 + 1e-9)).all()


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 60.0])
def test_contents_never_fall_below_nothing(dt_s: float) -> None:
    contents, heat = fresh((3,)), np.zeros((4, 3))
    for _ in range(50):
        contents, released = react(contents, np.array([25.0, 300.0, 1200.0]), dt_s)
        heat += released
    assert min(part.min() for part in contents) >= 0
    assert contents.cathode.max() <= 1
    assert (heat.sum(axis=0) <= (HEAT_J_M3 * START).sum() * 1.001 + HEAT_J_M3[CATHODE]).all()


@pytest.mark.slow  # integrates hours of physics
def test_the_step_of_half_a_second_is_fine_enough() -> None:
    ovens = np.array([148.0, 155.0])
    np.testing.assert_allclose(
        heat_cells(ovens, hours=1.5).runaway_s, heat_cells(ovens, hours=1.5, dt_s=0.1).runaway_s, rtol=0.01
    )


def test_rest_voltage_rises_with_charge_and_resistance_with_cold() -> None:
    soc = np.linspace(0, 100, 101)
    volts = open_circuit_voltage_v(soc)
    assert (np.diff(volts) > 0).all()
    assert 2.9 < volts[0] < 3.1
    assert 4.1 < volts[-1] < 4.25
    cold, mild, hot = resistance_factor(np.full(3, 50.0), np.array([0.0, 25.0, 60.0]))
    assert 1.5 < cold < 2.5
    assert mild == pytest.approx(1, abs=0.02)
    assert hot < mild


def test_a_large_cell_holds_and_heats_in_proportion() -> None:
    large = cell_of(50.0)
    assert large.heat_capacity_j_k == pytest.approx(CYLINDRICAL_18650.heat_capacity_j_k * 50 / 2.6)
    assert 0.0008 < large.resistance_ohm < 0.002
