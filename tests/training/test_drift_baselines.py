"""What stands outlives a new model, and what is not watched any more is not told as mended."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from drift_sites import START_MS

from training.drift.events import new_baseline
from training.drift.history import DAY_MS
from training.drift.watch import Watch
from worker.package import load_package
from worker.pipeline import load_pipeline
from worker.reference import Reference
from worker.sketch import HOUR_MS

if TYPE_CHECKING:
    from training.drift.topics import MonitoringTopics

PIPELINE = load_pipeline("battery_hazard")
GAS = ("North", "missing", "offgas_co_ppm")


@pytest.fixture(scope="module")
def reference(model_package: Path) -> Reference:
    found = load_package(model_package, version="1").reference
    assert found is not None
    return found


class Memory:
    """Monitoring topics in memory."""

    def __init__(self) -> None:
        assert PIPELINE.monitor is not None
        self.pipeline, self.monitor = PIPELINE, PIPELINE.monitor
        self.unread: dict[str, list[dict[str, Any]]] = {role: [] for role in ("sketches", "events", "labels", "alarms")}

    def news(self, role: str) -> list[dict[str, Any]]:
        read, self.unread[role] = self.unread[role], []
        return read

    def publish(self, role: str, records: list[tuple[str, dict[str, Any]]]) -> None:
        self.unread[role] += [record for _, record in records]


class Site:
    """A watched site, whose sketches are made up hour by hour."""

    def __init__(self, reference: Reference) -> None:
        self.reference, self.topics, self.hour = reference, Memory(), 0
        self.watch = Watch(cast("MonitoringTopics", self.topics), lambda: reference)
        self.rng = np.random.default_rng(0)

    def goes_on(
        self, hours: int, *, digest: str | None = None, dead: bool = False, schema: str = "id 1", shift: bool = False
    ) -> None:
        """So many hours more are counted."""
        bins = self.reference.width - 1
        shares = np.arange(bins) >= bins // 2 if shift else np.ones(bins)
        for hour in range(self.hour, self.hour + hours):
            counts = {n: [*self.rng.multinomial(400, shares / shares.sum()).tolist(), 0] for n in self.reference.names}
            self.topics.unread["sketches"].append(
                {
                    "site": "North",
                    "hour_ts": START_MS + hour * HOUR_MS,
                    "model_name": "m",
                    "model_version": "1" if digest is None else "2",
                    "reference": digest or self.reference.digest,
                    "readings": 400,
                    "keys": 16,
                    "columns": counts,
                    "missing": {"offgas_co_ppm": 400 if dead else 4, "voltage_v": 4},
                    "schemas": {schema: 400},
                    "source_partition": 0,
                    "source_offset": hour,
                }
            )
        self.hour += hours

    def begins_anew(self, day: int) -> None:
        self.topics.publish("events", [("North", new_baseline("North", START_MS + day * DAY_MS).record())])

    def told(self) -> list[tuple[str, str, str, str]]:
        """Kind, subject, state and message of what a look tells."""
        look = self.watch.look(publish=True)
        records = [event.record() for event in look.told]
        return [(r["kind"], r["subject"], r["state"], r["message"]) for r in records]

    def stands(self) -> set[tuple[str, str, str]]:
        return set(self.watch.look(publish=False).standing)


@pytest.fixture
def site(reference: Reference) -> Site:
    """A site in its ninth day."""
    site = Site(reference)
    site.goes_on(8 * 24)
    assert site.told() == []
    return site


def test_a_sensor_that_is_dead_stays_told_under_a_model_with_another_reference(site: Site) -> None:
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


def test_a_sensor_that_dies_in_the_week_after_a_model_change_is_told(site: Site) -> None:
    site.goes_on(24, digest="other")
    site.goes_on(6, dead=True, digest="other")
    assert [told[:3] for told in site.told()] == [("missing", "offgas_co_ppm", "ACTIVE")]


def test_a_new_schema_stays_told_under_a_model_with_another_reference(site: Site) -> None:
    site.goes_on(24, schema="id 7")
    assert [told[:3] for told in site.told()] == [("schema", "id 7", "ACTIVE")]
    site.goes_on(24, schema="id 7", digest="other")
    assert site.told() == []
    assert ("North", "schema", "id 7") in site.stands()


def test_drift_that_cannot_be_compared_any_more_is_not_told_as_mended_and_told_again_where_it_can(site: Site) -> None:
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


def test_the_last_word_on_a_baseline_counts_also_where_it_names_an_earlier_time(site: Site) -> None:
    site.goes_on(5 * 24, shift=True)
    drifted = {told[:3] for told in site.told()}
    site.begins_anew(13_000)  # mistyped: nothing is watched from there on
    assert {told[2] for told in site.told()} == {"RTN"}
    assert site.stands() == set()
    site.begins_anew(0)
    assert {told[:3] for told in site.told()} == drifted
    site.begins_anew(8)
    assert {told[2] for told in site.told()} == {"RTN"}
