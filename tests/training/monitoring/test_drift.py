"""Drift that was put in is found within the time that docs/drift.md promises, and normal operation raises nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from common.times import DAY_MS
from pipelines.battery_hazard.simulator.plant.sensing import AMBIENT, AVG, CO, CURRENT, H2, MAX, SOC, VOLTAGE
from tests.drift_sites import Recording, Values, found, recording, sketches
from tests.flagship import PIPELINE
from training.monitoring.drift.check import OF_LAST, RAISED_BY, _Compared, corrected, hysteresis
from training.monitoring.drift.distance import ks_distance, ks_p_value, psi
from training.monitoring.drift.events import Published, transitions
from worker.model.package import ModelPackage
from worker.model.reference import Reference

pytestmark = pytest.mark.timeout(400)
Change = Callable[[Values, NDArray[np.float64]], None]
FROM_DAY = 9


@pytest.fixture(scope="module")
def reference(package: ModelPackage) -> Reference:
    assert package.reference is not None
    return package.reference


@pytest.fixture(scope="module")
def site() -> Recording:
    """A site in changing weather: a week, and thirty days more."""
    return recording(4, 37, season_ms=270 * DAY_MS)


@pytest.mark.slow  # simulates days of a site
def test_thirty_days_of_normal_operation_raise_nothing(
    site: Recording, package: ModelPackage, reference: Reference
) -> None:
    other = recording(11, 37, modules=8, season_ms=60 * DAY_MS)
    seen = found({name: sketches(r, package, PIPELINE) for name, r in (("a", site), ("b", other))}, reference)
    assert seen.events == []
    assert {name: state.baseline_days for name, state in seen.states.items()} == {"a": 7, "b": 7}
    assert {(one.site, one.kind): len(one.ts) for one in seen.watched if one.kind != "missing"} == {
        ("a", "drift"): 29,  # the last of the 37 days is not over yet
        ("b", "drift"): 29,
        ("a", "untrained"): 36,
        ("b", "untrained"): 36,
    }


def late(change: Callable[[Values], None]) -> Change:
    """Something that is so from one day on."""

    def changed(values: Values, day: NDArray[np.float64]) -> None:
        other = values.copy()
        change(other)
        values[day >= FROM_DAY] = other[day >= FROM_DAY]

    return changed


def shifted(sensor: int, by: float) -> Change:
    def shift(values: Values) -> None:
        values[..., sensor] += by

    return late(shift)


def swapped(one: int, other: int) -> Change:
    def swap(values: Values) -> None:
        values[..., [one, other]] = values[..., [other, one]]

    return late(swap)


def silent(sensor: int, modules: slice) -> Change:
    def silence(values: Values) -> None:
        values[:, modules, sensor] = np.nan

    return late(silence)


@pytest.mark.slow  # simulates days of a site
@pytest.mark.parametrize(
    ("change", "kind", "subject", "within_days"),
    [
        (shifted(AVG, 1.5), "drift", "avg_less_ambient_temp_c", 4),
        (shifted(AMBIENT, 3.0), "drift", "avg_less_ambient_temp_c", 4),
        (shifted(CO, 8.0), "drift", "offgas_co_ppm", 4),
        (shifted(CURRENT, 3.0), "drift", "current_a", 4),
        (shifted(VOLTAGE, 0.5), "drift", "voltage_less_soc_v", 4),
        (swapped(CO, H2), "drift", "offgas_h2_ppm", 4),
        (swapped(AVG, AMBIENT), "drift", "avg_less_ambient_temp_c", 4),
        (swapped(AVG, MAX), "drift", "max_less_avg_temp_c", 4),
        (silent(SOC, slice(None)), "missing", "soc_percent", 4 / 24),
        (silent(H2, slice(4)), "missing", "offgas_h2_ppm", 4 / 24),
    ],
    ids=[
        "avg+1.5C",
        "ambient+3C",
        "co+8ppm",
        "current+3A",
        "voltage+0.5V",
        "co-h2",
        "avg-ambient",
        "avg-max",
        "soc",
        "h2",
    ],
)
def test_what_changes_from_one_day_to_the_next_is_found(
    site: Recording,
    package: ModelPackage,
    reference: Reference,
    change: Change,
    kind: str,
    subject: str,
    within_days: float,
) -> None:
    published = sketches(site.until(FROM_DAY + 6).changed(change), package, PIPELINE)
    assert 0 < found({"a": published}, reference).days_after(FROM_DAY)[kind, subject] <= within_days


def creeping_gas(values: Values, day: NDArray[np.float64]) -> None:
    values[..., CO] += 0.5 * np.maximum(day - 7, 0)


def ageing_cells(values: Values, day: NDArray[np.float64]) -> None:
    """A resistance of 14 x 0.8 mOhm grows by 5 % of itself each day, and with it what voltage does under load."""
    values[..., VOLTAGE] += np.nan_to_num(values[..., CURRENT]) * 14 * 0.8e-3 * 0.05 * np.maximum(day - 7, 0)


@pytest.mark.slow  # simulates days of a site
@pytest.mark.parametrize(
    ("change", "subject"),
    [(creeping_gas, "offgas_co_ppm"), (ageing_cells, "voltage_v_std_30")],
    ids=["gas sensor", "cells"],
)
def test_slow_ageing_is_found_within_a_fortnight(
    site: Recording, package: ModelPackage, reference: Reference, change: Change, subject: str
) -> None:
    seen = found({"a": sketches(site.until(23).changed(change), package, PIPELINE)}, reference)
    assert seen.days_after(7)["drift", subject] <= 14


@pytest.mark.slow  # simulates days of a site
def test_a_new_site_that_the_model_was_not_trained_for_is_found_in_its_first_days(
    site: Recording, package: ModelPackage, reference: Reference
) -> None:
    def sixteen_cells(values: Values, _day: NDArray[np.float64]) -> None:
        values[..., VOLTAGE] *= 16 / 14  # declared as 14

    known, new = (r.until(6) for r in (site, site.changed(sixteen_cells)))
    seen = found({"a": sketches(known, package, PIPELINE), "b": sketches(new, package, PIPELINE)}, reference)
    assert {event.site for event in seen.events} == {"b"}
    assert seen.days_after(0)["untrained", "voltage_v"] <= 5


@pytest.mark.slow  # simulates days of a site
def test_a_writer_s_schema_that_is_new_is_reported(
    site: Recording, package: ModelPackage, reference: Reference
) -> None:
    before, after = site.until(8), site.until(9)
    published = sketches(before, package, PIPELINE)
    newer = sketches(after, package, PIPELINE, prefix=b"\x00\x00\x00\x00\x07")
    published += [sketch for sketch in newer if sketch["hour_ts"] > published[-1]["hour_ts"]]
    seen = found({"a": published}, reference)
    assert [(e.kind, e.subject, e.state) for e in seen.events] == [("schema", "registry id 7", "ACTIVE")]


@pytest.mark.slow  # simulates days of a site
def test_a_sensor_that_comes_back_is_reported_too_and_nothing_is_reported_twice(
    site: Recording, package: ModelPackage, reference: Reference
) -> None:
    def two_days(values: Values, day: NDArray[np.float64]) -> None:
        values[(day >= FROM_DAY) & (day < FROM_DAY + 2), H2] = np.nan

    seen = found({"a": sketches(site.until(13).changed(two_days), package, PIPELINE)}, reference)
    told = [event for event in seen.events if event.kind == "missing"]
    assert [(e.subject, e.state) for e in told] == [("offgas_h2_ppm", "ACTIVE"), ("offgas_h2_ppm", "RTN")]
    records = [event.record() for event in seen.events]
    assert Published.of([]).not_yet_published(seen.events) == seen.events
    assert Published.of(records[:1]).not_yet_published(seen.events) == seen.events[1:]
    again = transitions(seen.watched, seen.states)
    assert [event.record()["event_id"] for event in again] == [record["event_id"] for record in records]
    assert Published.of(records).not_yet_published(again) == []


@pytest.mark.slow  # simulates days of a site
@given(arrays(np.bool_, st.tuples(st.integers(0, 40), st.just(1))))
def test_a_state_changes_only_with_several_windows_behind_it(over: NDArray[np.bool_]) -> None:
    active = hysteresis(over)
    for w in np.flatnonzero(np.diff(active[:, 0], prepend=False)).tolist():
        held = over[max(0, w + 1 - OF_LAST) : w + 1].sum()
        assert held >= RAISED_BY if active[w, 0] else held < 2


def counts_of(values: Any, bins: int) -> NDArray[np.int64]:
    return np.append(np.bincount(values, minlength=bins), 3)  # three without a value


@settings(deadline=None)
@given(*(st.lists(st.integers(0, 9), min_size=2, max_size=60) for _ in range(2)))
def test_distances_are_those_of_the_statistics_library(one: list[int], other: list[int]) -> None:
    theirs = stats.ks_2samp(one, other, method="asymp")
    distance = ks_distance(counts_of(one, 10), counts_of(other, 10))
    assert float(distance) == pytest.approx(theirs.statistic, abs=1e-12)
    sizes = np.float64(len(one)), np.float64(len(other))
    assert float(ks_p_value(distance, *map(np.asarray, sizes))) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


def test_psi_of_a_known_shift() -> None:
    before, after = np.array([50, 0, 0, 0, 0, 50, 0, 0, 0, 0, 7]), np.array([80, 0, 0, 0, 0, 20, 0, 0, 0, 0, 7])
    assert float(psi(before, after)) == pytest.approx(0.3 * np.log(1.6) + 0.3 * np.log(2.5))
    assert float(psi(before, before)) == 0.0


def test_p_values_are_corrected_for_all_tests_of_the_day() -> None:
    p = [np.array([[0.001, 0.2]]), np.array([[0.004, 0.9]])]
    ones = [
        _Compared("drift", name, ("x", "y"), np.array([DAY_MS]), np.ones((1, 2)), np.ones(2), np.ones((1, 2)), of)
        for name, of in zip("ab", p, strict=True)
    ]
    q = [one.q for one in corrected(ones)]
    assert np.concatenate([x[0] for x in q if x is not None]).tolist() == pytest.approx([0.004, 0.8 / 3, 0.008, 0.9])
