"""What physics says of a model with signs, from readings to probability, whatever its features do between."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.battery_hazard.simulator.fleet import SENSORS
from tests.flagship import SHIPPED_MODEL
from tests.pipelines.battery_hazard.signed_model import (
    HOTTEST,
    TEMPERATURES,
    last_probability,
    wandering,
    write_signed_package,
)
from worker.admission.dry_run import dry_run
from worker.model.monotone import proven_signs
from worker.model.package import ModelPackage, load_package

DECLARES = bool(json.loads((SHIPPED_MODEL / "features.json").read_text()).get("monotone"))
ENOUGH, STEPS = settings(max_examples=25, deadline=None), 12


@pytest.fixture(scope="module", params=["small", *(["shipped"] if DECLARES else [])])
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """A package with signs: a small one, and the one that comes along if it has any."""
    if request.param == "shipped":
        return load_package(SHIPPED_MODEL, version="1")
    directory = tmp_path_factory.mktemp("signed") / "package"
    write_signed_package(directory)
    return load_package(directory, version="1")


def readings(seed: int, period_ms: int = 10_000) -> np.ndarray:
    """One module's readings, [1, steps, sensors], which may heat up."""
    return wandering(np.random.default_rng([seed, period_ms]), 1, STEPS)


def test_all_signs_are_proven(signed: ModelPackage) -> None:
    dry_run(signed, None)
    assert proven_signs(signed.spec, signed.scaler).endswith("no absent sensor raises the probability")


@ENOUGH
@given(st.integers(0, 2**32 - 1), st.sampled_from([1000, 5000, 10_000, 60_000, 300_000]))
def test_a_higher_temperature_in_the_latest_reading_never_lowers_the_probability(
    signed: ModelPackage, seed: int, period_ms: int
) -> None:
    noise = np.random.default_rng(seed)
    raised = readings(seed, period_ms).repeat(64, axis=0)
    raised[:, noise.integers(STEPS), noise.integers(len(SENSORS))] = np.nan
    columns = [SENSORS.index(name) for name in TEMPERATURES]
    which = noise.random((63, len(columns))) < 0.5
    raised[1:, -1, columns] += which * np.round(noise.exponential(30, (63, 1)), 2)

    before, *after = last_probability(signed, raised, period_ms).tolist()

    assert min(after) >= before


@pytest.mark.slow  # scores 100,000 readings
def test_no_subset_of_sensors_has_a_higher_probability_than_all_of_them(signed: ModelPackage) -> None:
    """Each of the 8,191 subsets that hold a sensor."""
    subsets = np.array(list(itertools.product([False, True], repeat=len(SENSORS)))[1:])
    lacking = np.where(subsets[:, None, :], readings(10), np.nan)

    found = last_probability(signed, lacking, 10_000)

    assert subsets[-1].all()
    assert (found <= found[-1]).all()
    assert found.min() < found[-1] / 2


@ENOUGH
@given(st.integers(0, 2**32 - 1), st.integers(1, 2 ** len(SENSORS) - 1))
def test_no_more_sensors_lost_means_a_higher_probability(signed: ModelPackage, seed: int, known: int) -> None:
    """One sensor after the other is taken away from those that are there."""
    bits = np.array([known >> at & 1 for at in range(len(SENSORS))], np.bool_)
    there = np.flatnonzero(bits)
    order = np.random.default_rng(seed).permutation(there)
    series = readings(seed).repeat(len(order), axis=0)
    series[:, :, ~bits] = np.nan
    for lost in range(1, len(order)):
        series[lost:, :, order[lost - 1]] = np.nan

    found = last_probability(signed, series, 10_000)

    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("per_hour", [0, 24, 240])
def test_the_same_ramp_scores_alike_at_any_sampling_period(signed: ModelPackage, per_hour: float) -> None:
    """After 20 minutes, at a reading each 1, 5, 10, 60 and 300 s."""
    found = []
    for period_s in (1, 5, 10, 60, 300):
        seconds = np.arange(0, 1201, period_s)
        series = np.full((1, len(seconds), len(SENSORS)), np.nan)
        for name in HOTTEST:
            series[0, :, SENSORS.index(name)] = 25 + per_hour * seconds / 3600
        series[0, :, SENSORS.index("voltage_v")] = 51.0
        found += last_probability(signed, series, 1000 * period_s).tolist()

    assert max(found) - min(found) < 0.02


@ENOUGH
@given(st.integers(0, 2**32 - 1))
def test_mean_and_hottest_stand_in_for_each_other(signed: ModelPackage, seed: int) -> None:
    """Where both say the same, either of them alone means what both mean.

    To the shipped model, heat of the mean says more than that of one spot. Once hot and heating, either says all.
    """
    places = [SENSORS.index(name) for name in TEMPERATURES]
    series = readings(seed).repeat(3, axis=0)
    heat = series[:, :, places[:1]].copy()
    series[:, :, places] = np.nan
    for row, known in enumerate(([0], [1], [0, 1])):
        series[row : row + 1, :, [places[at] for at in known]] = heat[row]

    mean, hottest, both = last_probability(signed, series, 10_000).tolist()

    assert both == pytest.approx(mean, abs=0.05)
    assert hottest <= mean + 0.05
    if signed.name == "signed" or mean > 0.999:
        assert mean == pytest.approx(hottest, abs=0.05)
