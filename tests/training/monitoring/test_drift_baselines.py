"""What stands outlives a new model, and what is not watched any more is not told as mended."""

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
    assert site.told() == []
    return site


@pytest.mark.slow  # simulates days of a site
def test_a_sensor_that_is_dead_stays_reported_under_a_model_with_another_reference(site: MadeUpSite) -> None:
    site.goes_on(24, dead=True)
    assert [told[:3] for told in site.told()] == [("missing", "offgas_co_ppm", "ACTIVE")]
    for hours in (1, 20 * 24):
        site.goes_on(hours, dead=True, digest="other")
        assert site.told() == []
        assert GAS in site.stands()
    site.goes_on(24, digest="other")
    ((*told, message),) = site.told()
    assert told == ["missing", "offgas_co_ppm", "RTN"]
    assert "no longer: offgas_co_ppm is missing in 1% of the readings (limit 11%)" in message


def test_a_sensor_that_dies_in_the_week_after_a_model_change_is_reported(site: MadeUpSite) -> None:
    site.goes_on(24, digest="other")
    site.goes_on(6, dead=True, digest="other")
    assert [told[:3] for told in site.told()] == [("missing", "offgas_co_ppm", "ACTIVE")]


def test_a_new_schema_stays_reported_under_a_model_with_another_reference(site: MadeUpSite) -> None:
    site.goes_on(24, schema="id 7")
    assert [told[:3] for told in site.told()] == [("schema", "id 7", "ACTIVE")]
    site.goes_on(24, schema="id 7", digest="other")
    assert site.told() == []
    assert ("North", "schema", "id 7") in site.stands()


def test_drift_that_cannot_be_compared_any_more_is_not_reported_as_ended_and_is_reported_again_once_it_can(
    site: MadeUpSite,
) -> None:
    site.goes_on(5 * 24, shift=True)
    drifted = {told[:2] for told in site.told()}
    assert ("drift", "offgas_co_ppm") in drifted
    site.goes_on(2, shift=True, digest="other")
    ended = site.told()
    assert {told[:2] for told in ended} == drifted
    assert {told[2] for told in ended} == {"RTN"}
    assert not any("no longer" in told[3] for told in ended)
    assert all("is not watched" in told[3] and "may still hold" in told[3] for told in ended)
    site.goes_on(2, shift=True)  # the former model again
    assert {(told[:3]) for told in site.told()} == {(*place, "ACTIVE") for place in drifted}


def test_the_last_word_on_a_baseline_counts_also_where_it_names_an_earlier_time(site: MadeUpSite) -> None:
    site.goes_on(5 * 24, shift=True)
    drifted = {told[:3] for told in site.told()}
    site.begins_anew(13_000)  # mistyped: nothing is watched from there on
    assert {told[2] for told in site.told()} == {"RTN"}
    assert site.stands() == set()
    site.begins_anew(0)
    assert {told[:3] for told in site.told()} == drifted
    site.begins_anew(8)
    assert {told[2] for told in site.told()} == {"RTN"}
