"""Sites become labelled series and Parquet files: each site in one split, reproducible, as the worker would see it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from pipelines.battery_hazard.simulator.fleet import SENSORS
from pipelines.battery_hazard.training.datasets.dataset import claim, read_rows, read_series, site_file, write_sites
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES, HOT_C
from pipelines.battery_hazard.training.datasets.features import HELD_OUT, SITES, THERMOMETERS
from pipelines.battery_hazard.training.datasets.labels import HAZARD, LEFT_OUT, NORMAL
from pipelines.battery_hazard.training.datasets.series import Series, SimulatedSite, series_of
from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SPLITS, sites
from pipelines.battery_hazard.training.fitting.train import silent
from tests.models import TINIEST

SITE = SimulatedSite(seed=4, modules=8, faults=2, hours=1.5, nuisances=1.0, mechanisms=("overcharge",), healthy=4)
SEEING = [name for name, (_, lacking) in SITES.items() if not set(THERMOMETERS) <= set(lacking)]
BENCH = replace(SITE, mechanisms=("internal_short",), bench=True, varied=True)


@pytest.fixture(scope="module")
def series() -> list[Series]:
    return list(series_of(SITE))


@pytest.mark.slow  # simulates a site
def test_a_faulty_module_is_seen_with_every_set_of_thermometers_and_a_healthy_one_with_one(
    series: list[Series],
) -> None:
    faulty = [s.about.sensors for s in series if s.about.fault is not None and s.about.module == series[0].about.module]
    healthy = [s.about.module for s in series if s.about.fault is None]
    assert series[0].about.fault is not None or healthy
    assert sorted(faulty) in ([], sorted(SEEING))
    assert len(healthy) == len(set(healthy)) == 4


@pytest.mark.slow  # simulates a site
def test_a_sensor_that_a_site_lacks_is_missing_throughout(series: list[Series]) -> None:
    for one in series:
        missing = np.isnan(one.features[:, : len(FEATURES.sensors)]).all(axis=0)
        lacking = {s for s, gone in zip(FEATURES.sensors, np.atleast_1d(missing), strict=True) if gone}
        assert lacking == set(SITES[one.about.sensors][1]) & set(FEATURES.sensors)


def test_voltage_is_per_cell_and_current_a_rate(series: list[Series]) -> None:
    whole = np.concatenate([s.features[s.label == NORMAL] for s in series])
    column = {name: whole[:, i] for i, name in enumerate(FEATURES.names)}
    assert 2.8 < np.nanmin(column["voltage_v"]) < np.nanmax(column["voltage_v"]) < 4.4
    assert np.nanmax(np.abs(column["current_a"])) < 2.5


def test_a_fault_is_labelled_in_its_own_module_only(series: list[Series]) -> None:
    for one in series:
        assert (HAZARD in one.label) == (one.about.fault is not None)


@pytest.mark.slow  # simulates a site
def test_a_single_cell_has_no_more_than_temperature_voltage_and_current() -> None:
    kept = {s for one in series_of(BENCH) for s in set(SENSORS) - set(SITES[one.about.sensors][1])}
    assert kept <= {"avg_surface_temp_c", "max_surface_temp_c", "voltage_v", "current_a"}


@pytest.mark.slow  # simulates a site
def test_a_site_is_written_and_read_back_the_same_twice(tmp_path: Path, series: list[Series]) -> None:
    for name in ("first", "again"):
        write_sites(tmp_path / name, [SITE], stage="", progress=silent)
    first, again = (site_file(tmp_path / name, SITE) for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    for read, made in zip(read_series(first), series, strict=True):
        assert read.about == made.about
        np.testing.assert_array_equal(read.ts, made.ts)
        np.testing.assert_array_equal(read.label, made.label)
        np.testing.assert_array_equal(read.features, made.features.astype(np.float32))


@pytest.mark.slow  # simulates a site
def test_all_hazards_and_each_nth_normal_reading_are_trained_on(tmp_path: Path, series: list[Series]) -> None:
    write_sites(tmp_path, [SITE], thin=4, stage="", progress=silent)
    features, target, weight = read_rows([site_file(tmp_path, SITE)])
    assert features.shape == (len(target), len(FEATURES.names))
    assert target.sum() == sum((s.label == HAZARD).sum() for s in series)
    normal = sum((s.label == NORMAL).sum() for s in series)
    assert (target == 0).sum() == pytest.approx(normal / 4, abs=len(series))
    assert (weight[target == 0] == 1).all()
    # Overcharge gives warning, so no minute counts for more; but each set of sensors as it occurs.
    shares = {np.float32(SITES[name][0] * len(SITES)) for name in SEEING}
    assert set(weight[target == 1].tolist()) == {float(share) for share in shares}
    assert any((s.label == LEFT_OUT).any() for s in series)


@pytest.mark.slow  # simulates a site
def test_a_fast_site_shows_the_time_around_its_events_and_counts_no_more_than_another(tmp_path: Path) -> None:
    fast = replace(BENCH, mechanisms=("sudden_short",), period_ms=1_000)
    shown = list(series_of(fast))
    assert all(len(one.ts) <= 36 * 60 for one in shown)
    assert any(one.about.decaying for one in shown)
    for one in shown:
        if one.about.event_ms is not None:
            assert one.ts[0] < one.about.event_ms < one.ts[-1]
        if one.about.decaying:
            assert (one.label == NORMAL).all()
    write_sites(tmp_path, [fast], thin=4, stage="", progress=silent)
    features, target, weight = read_rows([site_file(tmp_path, fast)])
    assert 0 < target.sum() <= sum((one.label == HAZARD).sum() for one in shown)
    assert weight[target == 1].min() < 0.5
    hot = features[:, FEATURES.names.index("hottest_c")] >= HOT_C
    cool_and_hazardous = (target == 1) & ~hot
    assert cool_and_hazardous.any()
    assert weight[cool_and_hazardous].max() < weight[(target == 1) & hot].max() / 5


def test_no_site_is_in_two_splits_nor_of_two_seeds_and_one_mechanism_is_only_in_the_test() -> None:
    of = {(seed, split): sites(DEFAULT, split, seed) for seed in (0, 1) for split in SPLITS}
    seeds = [site.seed for group in of.values() for site in group]
    assert len(seeds) == len(set(seeds))
    for (_, split), group in of.items():
        assert all((HELD_OUT in site.mechanisms) == (split == "test") for site in group)


def test_datasets_of_another_preset_are_not_mixed_in(tmp_path: Path) -> None:
    claim(tmp_path, [{"seed": 1}])
    claim(tmp_path, [{"seed": 1}])
    with pytest.raises(UserError, match="another preset"):
        claim(tmp_path, [{"seed": 2}])


def test_a_preset_makes_as_many_sites_as_it_says() -> None:
    assert [len(sites(TINIEST, split, 0)) for split in SPLITS] == [2, 2, 2]
