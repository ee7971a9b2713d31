"""What mechanisms do to modules, as it is drawn."""

import numpy as np

from pipelines.battery_hazard.simulator.events.mechanisms import Build, draw_causes
from pipelines.battery_hazard.simulator.physics.cell import cell_of

MODULE = Build(14, 2, cell_of(50))
CELL = Build(1, 1, cell_of(2.6))
MANY = np.arange(400)


def test_half_of_the_heated_modules_are_heated_at_one_end_and_half_as_a_whole() -> None:
    causes = draw_causes(MANY, ["external_heating"] * 400, MODULE, np.random.default_rng(1))
    touched = (causes.wall_w_k > 0).sum(axis=1)
    assert set(touched.tolist()) == {1, 28}
    assert 0.4 < np.mean(touched == 28) < 0.6
    assert (causes.wall_w_k[:, 0] > 0).all()


def test_only_a_module_heated_as_a_whole_goes_on_working() -> None:
    causes = draw_causes(MANY, ["external_heating"] * 400, MODULE, np.random.default_rng(2))
    whole = (causes.wall_w_k > 0).all(axis=1)
    assert not causes.cycled[~whole].any()
    assert 0.6 < causes.cycled[whole].mean() < 0.9


def test_nothing_hot_stands_beside_a_module_that_fails_by_itself() -> None:
    for mechanism in ("internal_short", "hard_short", "overcharge", "cooling_failure"):
        causes = draw_causes(MANY, [mechanism] * 400, MODULE, np.random.default_rng(3))
        assert not causes.wall_w_k.any()
        assert causes.cycled.all() == (mechanism == "cooling_failure")


def test_a_nail_through_a_single_cell_shorts_harder_than_a_dendrite_in_a_module() -> None:
    rng = np.random.default_rng(4)
    of_cell, of_module = (draw_causes(MANY, ["hard_short"] * 400, build, rng).ohm.min() for build in (CELL, MODULE))
    assert of_cell < 0.004
    assert of_module > 0.02 * 2.6 / 50 * 1.9
