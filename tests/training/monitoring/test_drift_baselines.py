"""An active state outlives a new model, and one that is no longer watched is not reported as ended."""

import pytest

from tests.drift_sites import MadeUpSite
from worker.model.package import ModelPackage
from worker.model.reference import Reference

GAS = ("North", "missing", "offgas_co_ppm")


@pytest.fixture(scope="module")
def reference(package: ModelPackage) -> Reference:
    assert package.reference is not None
    return package.reference


@pytest.fixture
def site(reference: Reference) -> MadeUpSite:
    """A site in its ninth day."""
    site = MadeUpSite(reference)
    site.goes_on(8 * 24)
    assert site.new_events() == []
    return site


@pytest.mark.slow  # simulates days of a site
def test_a_sensor_that_is_dead_stays_reported_under_a_model_with_another_reference(site: MadeUpSite) -> None:
    site.goes_on(24, dead=True)
    assert [event[:3] for event in site.new_events()] == [("missing", "offgas_co_ppm", "ACTIVE")]
    for hours in (1, 20 * 24):
        site.goes_on(hours, dead=True, digest="other")
        assert site.new_events() == []
        assert GAS in site.active()
    site.goes_on(24, digest="other")
    ((*event, message),) = site.new_events()
    assert event == ["missing", "offgas_co_ppm", "RTN"]
    assert "no longer: offgas_co_ppm is missing in 1% of the readings (limit 11%)" in message


def test_a_sensor_that_dies_in_the_week_after_a_model_change_is_reported(site: MadeUpSite) -> None:
    site.goes_on(24, digest="other")
    site.goes_on(6, dead=True, digest="other")
    assert [event[:3] for event in site.new_events()] == [("missing", "offgas_co_ppm", "ACTIVE")]


def test_a_new_schema_stays_reported_under_a_model_with_another_reference(site: MadeUpSite) -> None:
    site.goes_on(24, schema="id 7")
    assert [event[:3] for event in site.new_events()] == [("schema", "id 7", "ACTIVE")]
    site.goes_on(24, schema="id 7", digest="other")
    assert site.new_events() == []
    assert ("North", "schema", "id 7") in site.active()


def test_drift_that_cannot_be_compared_any_more_is_not_reported_as_ended_and_is_reported_again_once_it_can(
    site: MadeUpSite,
) -> None:
    site.goes_on(5 * 24, shift=True)
    drifted = {event[:2] for event in site.new_events()}
    assert ("drift", "offgas_co_ppm") in drifted
    site.goes_on(2, shift=True, digest="other")
    ended = site.new_events()
    assert {event[:2] for event in ended} == drifted
    assert {event[2] for event in ended} == {"RTN"}
    assert not any("no longer" in event[3] for event in ended)
    assert all("is not watched" in event[3] and "may still hold" in event[3] for event in ended)
    site.goes_on(2, shift=True)  # the former model again
    assert {(event[:3]) for event in site.new_events()} == {(*place, "ACTIVE") for place in drifted}


def test_the_last_word_on_a_baseline_counts_also_where_it_names_an_earlier_time(site: MadeUpSite) -> None:
    site.goes_on(5 * 24, shift=True)
    drifted = {event[:3] for event in site.new_events()}
    site.restart_baseline(13_000)  # mistyped: nothing is watched from there on
    assert {event[2] for event in site.new_events()} == {"RTN"}
    assert site.active() == set()
    site.restart_baseline(0)
    assert {event[:3] for event in site.new_events()} == drifted
    site.restart_baseline(8)
    assert {event[2] for event in site.new_events()} == {"RTN"}
