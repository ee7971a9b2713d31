"""Alarms say why, and any past prediction can be computed again from the log."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from common.errors import UserError
from tests.activity import activity_pipeline
from tests.commands import hazardstream
from tests.harness import START_MS, Stage, make_stage, reading, wait_until
from worker.admission.admit import Demands
from worker.cli.commands import _moment
from worker.cli.explain import Explained, explain
from worker.cli.published import reading_of_alarm
from worker.config.settings import Settings
from worker.model.contract import Model
from worker.model.package_files import PackageError

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180), pytest.mark.xdist_group("explain")]
STEPS = 300


def overheating(module: str, begins: int) -> Iterator[dict[str, Any]]:
    """A module that heats up, vents and sags from one of its readings on."""
    for n in range(STEPS):
        heat = max(0, n - begins)
        yield reading(
            module,
            START_MS + n * 10_000,
            avg_surface_temp_c=26.0 + 0.4 * heat,
            max_surface_temp_c=27.0 + 0.6 * heat,
            voltage_v=51.0 - 0.02 * heat,
            offgas_co_ppm=20.0 + 5.0 * heat,
            offgas_h2_ppm=5.0 + 5.0 * heat,
            offgas_voc_ppm=None if n % 7 == 0 else 10.0 + 5.0 * heat,
        )


@pytest.fixture(scope="module")
def ran(kafka: str, model_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage on which a worker has scored a healthy and a failing module."""
    stage = make_stage(kafka, f"explain-{uuid4().hex[:8]}.", tmp_path_factory.mktemp("explain"), model_package)
    readings = zip(overheating("fails", 150), overheating("healthy", STEPS), strict=True)
    stage.publish_readings(r for pair in readings for r in pair)
    with stage.worker() as worker:
        worker.await_consumed(2 * STEPS)
        assert worker.stop() == 0
    return stage


def explained(stage: Stage, module: str, at_ms: int, **settings: Any) -> Explained:
    given = {"bootstrap_servers": stage.bootstrap, "model": str(stage.model)}
    return explain(Settings(**given | settings), stage.pipeline, module, at_ms)


def _place(record: dict[str, Any]) -> tuple[int, int]:
    return record["source_partition"], record["source_offset"]


def test_an_alarms_contributions_add_up_to_its_log_odds(ran: Stage) -> None:
    alarms = ran.records("alarms")
    assert {a["module_id"] for a in alarms} == {"fails"}
    for alarm in alarms:
        total = alarm["bias"] + alarm["other_contributions"] + sum(c["contribution"] for c in alarm["contributions"])
        p = alarm["hazard_probability"]
        assert total == pytest.approx(math.log(p / (1 - p)), abs=1e-3)


def test_an_alarm_says_values_in_the_sensors_units(ran: Stage) -> None:
    known = {r["ts"]: r for r in overheating("fails", 150)}
    for alarm in ran.records("alarms"):
        at = explained(ran, "fails", alarm["ts"])
        sent = known[alarm["ts"]]
        assert at.features["avg_surface_temp_c"] == sent["avg_surface_temp_c"]
        assert at.features["voltage_v"] == sent["voltage_v"] / 14
        per = {c.feature: c.per for c in at.explanation.contributions}
        assert per["voltage_v"] == per["voltage_v_mean_6"] == "cells_in_series"
        assert per["avg_surface_temp_c"] is None


def test_every_alarm_is_computed_again_bit_for_bit(ran: Stage) -> None:
    for alarm in ran.records("alarms"):
        again = explained(ran, "fails", alarm["ts"])
        assert again.same_bits
        assert again.same_contributions
        assert again.alarm == ran.pipeline.outputs.with_engine_names(alarm)
        assert again.probability == alarm["hazard_probability"]


def test_any_reading_is_computed_again_bit_for_bit(ran: Stage) -> None:
    predictions = ran.records("predictions")
    for record in [*predictions[::97], predictions[-1]]:
        again = explained(ran, record["module_id"], record["ts"])
        assert again.prediction == ran.pipeline.outputs.with_engine_names(record)
        assert again.same_bits
        assert again.readings_in_window == record["readings_in_window"] == len(again.window["ts"])
        assert again.alarm is None or again.alarm["ts"] == record["ts"]


def test_a_time_between_two_readings_means_the_one_before(ran: Stage) -> None:
    assert explained(ran, "healthy", START_MS + 105_000).prediction["ts"] == START_MS + 100_000


def test_a_reading_before_the_first_or_of_an_unknown_key_is_reported(ran: Stage) -> None:
    with pytest.raises(
        UserError, match=f"no prediction for module_id 'healthy'.*the next one after it is at {START_MS}"
    ):
        explained(ran, "healthy", START_MS - 1)
    with pytest.raises(UserError, match="no prediction for module_id 'nobody'"):
        explained(ran, "nobody", START_MS)


def test_a_missing_model_is_reported(ran: Stage, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"which made this prediction, was not found.*--model"):
        explained(ran, "healthy", START_MS, model=None, tracking_uri=f"sqlite:///{tmp_path}/none.db")


def test_a_model_that_the_pipeline_does_not_trust_was_refused_not_missing(
    ran: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def refuse(uri: str, *, demands: Demands, **_: Any) -> Model:
        asked.append(demands)
        raise PackageError("untrusted", f"{uri} is not trusted")

    monkeypatch.setattr("worker.cli.explain.resolve", refuse)
    trusting = ran.pipeline.model_copy(update={"trusted_models": "registry"})
    settings = Settings(bootstrap_servers=ran.bootstrap, model=str(ran.model))
    with pytest.raises(UserError, match=r"which made this prediction, was refused: \S+ is not trusted$"):
        explain(settings, trusting, "healthy", START_MS)
    assert [demands.trust for demands in asked] == [settings.trust.and_(trusting.trust)]


def test_a_pipeline_with_aggregates_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    pipeline = activity_pipeline(tmp_path, "explained")
    with pytest.raises(UserError, match=r"has aggregates over event time.*short windows only"):
        explain(Settings(bootstrap_servers="nowhere:9"), pipeline, "user", START_MS)


def test_the_command_prints_what_was_published(ran: Stage) -> None:
    alarm = ran.records("alarms")[0]
    options = ["--key", "fails", "--at", str(alarm["ts"]), "--bootstrap", ran.bootstrap]
    options += ["--pipeline", str(ran.pipeline_file), "--model", str(ran.model)]
    done = hazardstream("explain", *options, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["same_bits"] is result["same_contributions"] is True
    assert (result["alarm"], result["alarms"]) == (alarm, [alarm])
    assert result["prediction"] == next(p for p in ran.records("predictions") if _place(p) == _place(alarm))
    shown = hazardstream("explain", *options)
    assert "equal, bit for bit" in shown.stdout
    assert alarm["contributions"][0]["feature"] in shown.stdout
    assert "by the model" in shown.stdout


def test_more_alarms_after_the_first_do_not_change_what_it_says(ran: Stage) -> None:
    first = ran.records("alarms")[0]
    before = explained(ran, "fails", first["ts"])
    ran.publish_readings(reading("fails", START_MS + (STEPS + n) * 10_000) for n in range(60))
    with ran.worker() as worker:
        wait_until(lambda: len(ran.committed("predictions")) == 2 * STEPS + 60, "the rest scored")
        assert worker.stop() == 0
    after = explained(ran, "fails", first["ts"])
    assert after == Explained(**vars(before) | {"package": after.package})


def test_a_prediction_of_a_former_topic_is_not_explained_from_the_new_one(
    ran: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a topic that is created again looks: the same name, another id."""
    monkeypatch.setattr("worker.cli.explain.topic_id_of", lambda *_: "another")
    with pytest.raises(UserError, match="deleted and created again since"):
        explained(ran, "healthy", START_MS)


def test_the_reading_that_raised_an_alarm_is_found_by_the_alarms_id(ran: Stage) -> None:
    (raised, *_) = [a for a in ran.records("alarms") if a["state"] == "ACTIVE"]
    settings = Settings(bootstrap_servers=ran.bootstrap)
    assert reading_of_alarm(settings, ran.pipeline, raised["alarm_id"]) == (raised["module_id"], raised["ts"])
    with pytest.raises(UserError, match="no alarm nothing"):
        reading_of_alarm(settings, ran.pipeline, "nothing")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-01-31T12:00:00Z", (1_769_860_800_000, 1_769_860_800_999)),  # as screens show it
        ("2026-01-31T13:00:00+01:00", (1_769_860_800_000, 1_769_860_800_999)),
        ("2026-01-31T12:00:00.250Z", (1_769_860_800_250, 1_769_860_800_250)),
        ("1769860800250", (1_769_860_800_250, 1_769_860_800_250)),
    ],
)
def test_a_time_in_whole_seconds_means_the_whole_second(text: str, found: tuple[int, int]) -> None:
    assert _moment(text) == found


def test_the_reading_within_the_second_is_explained(ran: Stage) -> None:
    at_ms = START_MS + 10_000 * 200
    found = explain(
        Settings(bootstrap_servers=ran.bootstrap, model=str(ran.model)), ran.pipeline, "fails", at_ms - 400, at_ms + 599
    )
    assert found.prediction["ts"] == at_ms
