"""A sudden short heats one spot; the heat decays or goes on into runaway, and none of it is lost from the books."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.battery_hazard.simulator.events.mechanisms import Build
from pipelines.battery_hazard.simulator.events.sudden_draws import draw_spots
from pipelines.battery_hazard.simulator.physics.cell import cell_of
from pipelines.battery_hazard.simulator.physics.spot import SpotCourses, Spots, run_spots

ROWS = 24
RUNS_AWAY = np.arange(ROWS) % 2 == 0


def shorts(build: Build, seed: int = 1) -> Spots:
    room, half = np.full(ROWS, 25.0), np.full(ROWS, 60.0)
    return draw_spots(build, room, half, RUNS_AWAY, np.random.default_rng(seed))[0]


@pytest.fixture(scope="module")
def cells() -> tuple[Spots, SpotCourses]:
    drawn = shorts(Build(1, 1, cell_of(5.0)))
    return drawn, run_spots(drawn)


@pytest.mark.parametrize("build", [Build(1, 1, cell_of(5.0)), Build(14, 2, cell_of(50.0))], ids=["cell", "module"])
def test_all_heat_is_stored_or_lost_to_the_air(build: Build) -> None:
    released, stored, lost = np.moveaxis(run_spots(shorts(build)).energy_j[:, ::60], 2, 0)
    np.testing.assert_allclose(stored + lost, released, rtol=1e-9, atol=1e-6)
    assert (np.diff(released, axis=1) >= 0).all()


def test_a_short_gives_no_more_than_the_charge_and_what_has_reacted(cells: tuple[Spots, SpotCourses]) -> None:
    drawn, courses = cells
    charge_j = drawn.soc_percent / 100 * drawn.cell.capacity_ah * 3600 * 4.2
    reaction_j = 600 * drawn.cell.heat_capacity_j_k * drawn.burnt
    assert (courses.energy_j[:, -1, 0] <= charge_j + reaction_j).all()


def test_the_spot_is_hot_within_seconds_and_those_that_decay_cool_again(cells: tuple[Spots, SpotCourses]) -> None:
    _, courses = cells
    first = courses.hot_c[:, 5] - courses.hot_c[:, 0]
    assert 20 < np.median(first) < 120
    decaying = courses.hot_c[~RUNS_AWAY]
    assert (decaying[:, -1] < 0.5 * decaying.max(axis=1)).all()


def test_a_runaway_heats_ever_faster_and_burns_what_it_should(cells: tuple[Spots, SpotCourses]) -> None:
    drawn, courses = cells
    np.testing.assert_allclose(courses.burnt[:, -1, 0], drawn.burnt, rtol=0.05)
    rate = np.diff(courses.hot_c[RUNS_AWAY], axis=1)
    assert (rate.max(axis=1) > 5).all()
    assert np.median(courses.hot_c[RUNS_AWAY].max(axis=1)) > 150


def test_the_voltage_dips_and_recovers_unless_the_cell_collapses(cells: tuple[Spots, SpotCourses]) -> None:
    drawn, courses = cells
    decaying = ~RUNS_AWAY & (drawn.dip_v > 0.2)
    dip, later = courses.volt_v[decaying, :5].min(axis=1), courses.volt_v[decaying, 30]
    assert (dip < -0.3).all()
    assert np.median(later / dip) < 0.5
    burnt_out = drawn.burnt > drawn.collapse
    assert burnt_out.any()
    assert (courses.volt_v[burnt_out, -1] < -2.9).all()


def test_a_half_as_strong_short_of_a_cell_that_does_not_react_heats_it_half_as_much() -> None:
    drawn = replace(shorts(Build(1, 1, cell_of(5.0))), burnt=np.full(ROWS, 1e-6))
    halved = replace(drawn, c_rate=drawn.c_rate / 2)
    whole, half = run_spots(drawn).hot_c[:, 20], run_spots(halved).hot_c[:, 20]
    np.testing.assert_allclose(half / whole, 0.5, rtol=0.1)  # the charge falls a little, and heat radiates


def test_cells_of_a_module_catch_fire_one_after_the_other() -> None:
    drawn = shorts(Build(14, 2, cell_of(50.0)))
    tight = replace(drawn, burnt=np.ones(ROWS), weak=np.full(ROWS, 14), conduction_w_k=np.full(ROWS, 9.0))
    burnt = run_spots(tight).burnt[0]
    caught = [int(np.argmax(burnt[:, cell] > 0.1)) for cell in (14, 15, 16)]
    assert 0 < caught[0] < caught[1] < caught[2]
