"""Retraining: what asks for it, what is trained on, what is worse, and what becomes of candidates."""

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import START_MS, Stage, make_stage, reading
from models import TINIEST, renamed, resealed
from structlog.testing import capture_logs
from typer.testing import CliRunner

import training.retraining.compare
import training.retraining.synchronise
import training.retraining.watch
from local.process import free_ports
from producers.truth import Fault
from training.battery import FEATURES
from training.drift.events import Event
from training.drift.topics import MonitoringTopics
from training.operators import EventOutcome, FalseAlarm, Verdict
from training.performance.labels import EVENT, FALSE_ALARM, Label
from training.register import register_package, version_behind
from training.retraining.attempt import PACKAGE, REPORT, Report, Workshop, read_report, retrain, write_report
from training.retraining.compare import compare, worse
from training.retraining.recorded import recorded_rows
from training.retraining.synchronise import synchronise
from training.retraining.triggers import Triggers
from training.retraining.watch import watch
from training.series import About
from training.train import silent
from worker.alarms import ACTIVE, RTN
from worker.cli import app
from worker.errors import DependencyDownError, UserError
from worker.package import load_package
from worker.settings import Settings
from worker.tracking import mlflow_client

DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def about(site: int = 1) -> About:
    fault = Fault(0, "overcharge", onset_ts=0, first_sign_ts=0, first_sign_tv_ts=0, no_return_ts=1, vents_early=True)
    return About(site, 0, "complete", bench=False, period_ms=10_000, fault=fault, nuisances=(), nuisance_rate=0.0)


def verdict(lead_s: float | None, false_alarms: int = 0) -> Verdict:
    event = EventOutcome(about(), 1200.0, lead_s, None if lead_s is None else 0.0)
    return Verdict(about(), event, tuple(FalseAlarm(about(), n, "none") for n in range(false_alarms)), 1.0, 0.0)


@pytest.mark.parametrize(
    ("candidate", "champion", "said"),
    [
        ([verdict(900.0)] * 20, [verdict(900.0)] * 20, 0),
        ([verdict(900.0)] * 20, [verdict(None)] * 20, 0),
        ([verdict(None)] * 4 + [verdict(900.0)] * 16, [verdict(900.0)] * 20, 0),  # may be chance
        ([verdict(None)] * 5 + [verdict(900.0)] * 15, [verdict(900.0)] * 20, 2),  # not warned of, and so not in time
        ([verdict(10.0)] * 5 + [verdict(900.0)] * 15, [verdict(900.0)] * 20, 1),
        ([verdict(900.0, 5)], [verdict(900.0, 1)], 0),
        ([verdict(900.0, 9)], [verdict(900.0, 1)], 1),
    ],
)
def test_a_candidate_is_worse_where_that_is_no_chance(
    candidate: list[Verdict], champion: list[Verdict], said: int
) -> None:
    assert len(worse(candidate, champion)) == said


def test_a_champion_with_other_features_cannot_be_compared(model_package: Path) -> None:
    package = load_package(model_package, version="1")
    other = replace(package, spec=FEATURES.model_copy(update={"max_span_ms": 1_800_000}))
    assert "hazardstream evaluate" in compare(package, other, [], []).worse[0]


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    return make_stage(kafka, topic_prefix, tmp_path, model_package)


def settings(stage: Stage, **more: Any) -> Settings:
    return Settings(
        pipeline=str(stage.pipeline_file),
        bootstrap_servers=stage.bootstrap,
        cache_directory=stage.directory / "cache",
        **({"model": str(stage.model)} | more),
    )


@pytest.fixture
def topics(stage: Stage) -> Iterator[MonitoringTopics]:
    with MonitoringTopics(settings(stage)) as opened:
        yield opened


def tell(topics: MonitoringTopics, *events: Event) -> None:
    topics.publish("events", [(event.site, event.record()) for event in events])


def event(kind: str, subject: str, state: str, ts: int) -> Event:
    return Event("north", kind, subject, state, ts, 0.3, 0.1, ("battery_hazard", "1"))


@pytest.mark.kafka
def test_what_stands_asks_until_it_is_answered(stage: Stage, topics: MonitoringTopics, tmp_path: Path) -> None:
    file = tmp_path / "retrain"
    triggers = Triggers(topics, tmp_path / "home" / "answered.json", file)
    assert triggers.waiting() == []
    tell(
        topics,
        event("drift", "voltage_v", ACTIVE, 1000),
        event("drift", "soc_percent", ACTIVE, 1000),
        event("drift", "soc_percent", RTN, 2000),
        event("missing", "voltage_v", ACTIVE, 1000),
        event("performance", "recall", ACTIVE, 3000),
    )
    file.write_text("the plant was rebuilt\n")
    asked = triggers.waiting()
    assert [t.identity.rpartition("/")[0] for t in asked[:2]] == ["north/drift/voltage_v", "north/performance/recall"]
    assert "recall" in asked[1].words
    assert asked[2].words == "the plant was rebuilt"
    triggers.answer(asked)
    assert triggers.waiting() == []
    assert not file.exists()
    # Another process remembers; what comes again is another reason.
    tell(topics, event("drift", "voltage_v", RTN, 4000), event("drift", "voltage_v", ACTIVE, 5000))
    file.touch()
    with MonitoringTopics(settings(stage)) as opened:
        again = Triggers(opened, tmp_path / "home" / "answered.json", file)
        assert [t.identity for t in again.waiting()] == ["north/drift/voltage_v/5000", f"file {file}"]


@pytest.mark.kafka
def test_recorded_rows_are_normal_operation_with_the_workers_features(stage: Stage, topics: MonitoringTopics) -> None:
    now_ms = START_MS
    began = now_ms - 5 * HOUR_MS
    modules = [f"Rack1_Module{n:02}" for n in range(4)]
    horizon_ms = topics.monitor.performance.horizon_ms
    steps = 60
    stage.publish_readings(
        reading(m, began + step * 10_000, avg_surface_temp_c=26.0 + step % 7 * 0.3)
        for step in range(steps)
        for m in modules
    )
    assert recorded_rows(settings(stage), days=0, now_ms=now_ms * 2) is None
    rows = recorded_rows(settings(stage), days=1e5, now_ms=now_ms)
    assert rows is not None
    assert rows.features.shape == (4 * steps, len(FEATURES.names))
    assert not rows.target.any()
    assert rows.features.dtype == np.float32
    # What is near an event is left out, whoever it was said of.
    label = Label(modules[1], began + steps * 10_000, EVENT)
    topics.publish("labels", [(modules[1], label.record(topics.pipeline))])
    rows = recorded_rows(settings(stage), days=1e5, now_ms=now_ms)
    assert rows is not None
    assert horizon_ms > steps * 10_000
    assert len(rows.target) == 3 * steps


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_alarms_that_nobody_marked_are_left_out_and_false_ones_are_learned_from(
    stage: Stage, topics: MonitoringTopics
) -> None:
    hot = {"avg_surface_temp_c": 140.0, "max_surface_temp_c": 150.0, "offgas_co_ppm": 900.0, "offgas_h2_ppm": 4000.0}
    stage.publish_readings(
        reading(m, START_MS + step * 10_000, **(hot if step >= 30 and m != "m0" else {}))
        for step in range(60)
        for m in ("m0", "m1", "m2")
    )
    with stage.worker() as worker:
        worker.await_ready()
        worker.await_scored(180)
        assert worker.stop() == 0
    alarms = {r["module_id"]: r for r in stage.records("alarms")}
    assert alarms.keys() == {"m1", "m2"}
    label = Label("m1", alarms["m1"]["ts"] + 60_000, FALSE_ALARM)
    topics.publish("labels", [("m1", label.record(topics.pipeline))])
    rows = recorded_rows(settings(stage), days=1e5, now_ms=START_MS)
    assert rows is not None
    assert len(rows.target) == 120  # all of m0 and m1, and nothing of m2
    assert (rows.features[:, 0] == 140.0).sum() == 30


@pytest.mark.kafka
@pytest.mark.parametrize("held", ["", "5", '["half'])
def test_a_damaged_memory_of_what_was_answered_is_told(topics: MonitoringTopics, tmp_path: Path, held: str) -> None:
    memory = tmp_path / "answered.json"
    memory.write_text(held)
    file = tmp_path / "retrain"
    file.touch()
    triggers = Triggers(topics, memory, file)
    with pytest.raises(UserError, match=rf"{memory} is damaged .*: remove it"):
        triggers.waiting()
    memory.unlink()
    triggers.answer(triggers.waiting())
    assert [p.name for p in tmp_path.glob("answered*")] == ["answered.json"]


@pytest.mark.kafka
def test_a_trigger_file_that_is_no_file_is_told(topics: MonitoringTopics, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trigger file .* directory"):
        Triggers(topics, tmp_path / "answered.json", tmp_path).waiting()
    done = CliRunner().invoke(app, ["retrain", "--watch", "--trigger-file", str(tmp_path)], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "is a directory" in done.stderr


def look(shop: Workshop, triggers: Triggers, *, times: int, at_most_every_s: float = 0.0) -> None:
    """What `hazardstream retrain --watch` does in so many looks."""
    looks = itertools.count(1)

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 60.0
            if next(looks) == times:
                self.set()
            return self.is_set()

    watch(
        shop,
        triggers,
        alias="challenger",
        every_s=60.0,
        at_most_every_s=at_most_every_s,
        stop=Stop(),
        progress=silent,
        say=lambda _: None,
    )


@pytest.mark.kafka
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("ago_h", "retrained"), [(23, False), (25, True), (-1, True)])
def test_how_long_ago_the_last_retraining_was_outlives_a_restart(
    topics: MonitoringTopics,
    tmp_path: Path,
    model_package: Path,
    ago_h: int,
    retrained: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    begun_at = datetime.now(UTC) - timedelta(hours=ago_h)
    before = pending(shop, model_package, 1, "battery_hazard", begun_at)
    write_report(before, read_report(before).model_copy(update={"status": "rejected"}))
    (tmp_path / "retrain").touch()
    monkeypatch.setattr(training.retraining.watch, "_PATIENCE_S", 0.0)  # there is no MLflow to wait for
    triggers = Triggers(topics, shop.home / "answered.json", tmp_path / "retrain")
    look(shop, triggers, times=1, at_most_every_s=24 * 3600)
    assert (len(shop.attempts()) == 2) == retrained
    assert (tmp_path / "retrain").exists() != retrained


@pytest.mark.kafka
def test_the_service_goes_on_past_what_it_cannot_read(
    topics: MonitoringTopics, tmp_path: Path, model_package: Path
) -> None:
    """An answered.json without content, an attempt's report of half its length, and a directory of somebody else."""
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    report = pending(shop, model_package, 1, "battery_hazard") / REPORT
    report.write_text(report.read_text()[:100])
    (shop.home / "notes").mkdir()
    (shop.home / "notes" / REPORT).touch()
    (shop.home / "answered.json").touch()
    (tmp_path / "retrain").touch()
    with capture_logs() as logs:
        look(shop, Triggers(topics, shop.home / "answered.json", tmp_path / "retrain"), times=2)
    told = [(log["event"], str(log["reason"])) for log in logs if log["log_level"] == "error"]
    assert [event for event, _ in told] == ["a retraining is left aside", "not retrained"] * 2
    assert str(report) in told[0][1]
    assert "answered.json" in told[1][1]


def test_a_damaged_report_is_told_before_the_training(tmp_path: Path, model_package: Path) -> None:
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    (pending(shop, model_package, 1, "battery_hazard") / REPORT).write_text("{}")
    command = ["retrain", "--small", "--days", "0", "--home", str(shop.home), "--model", str(model_package)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, UserError)
    assert f"remove {shop.home / '000001'}" in str(done.exception)


def test_an_alias_of_a_bad_name_is_told_before_the_training(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["retrain", "--alias", "a b/c", "--home", str(tmp_path / "home")])
    assert "MLflow takes no alias 'a b/c'" in str(done.exception)


def test_what_is_not_ours_in_the_home_is_left_alone(tmp_path: Path, model_package: Path) -> None:
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    for name in ("notes", "000007", "000009"):
        (shop.home / name).mkdir(parents=True)
    (shop.home / "notes" / REPORT).touch()
    ours = pending(shop, model_package, 8, "battery_hazard")
    assert shop.attempts() == [ours]
    assert shop.next_number() == 10


def workshop(tmp_path: Path, model: str, url: str) -> Workshop:
    made = Settings(model=model, tracking_uri=url, cache_directory=tmp_path / "cache", pipeline="battery_hazard")
    return Workshop(made, tmp_path / "home", TINIEST, days=0)


LONG_AGO = datetime(2026, 1, 31, tzinfo=UTC)


def pending(workshop: Workshop, package: Path, number: int, name: str, begun_at: datetime = LONG_AGO) -> Path:
    """A candidate that waits."""
    directory = workshop.home / f"{number:06d}"
    renamed(package, directory / PACKAGE, name)
    (directory / "record").mkdir()
    write_report(
        directory,
        Report(
            status="pending",
            reasons=["drift"],
            worse=[],
            begun_at=begun_at,
            seconds=1.0,
            seed=number,
            name=name,
            champion="1",
            recorded_rows=0,
            comparison={},
        ),
    )
    return directory


@pytest.mark.timeout(180)
def test_a_candidate_is_trained_on_a_seed_of_its_own_and_compared(tmp_path: Path, model_package: Path) -> None:
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    directory = retrain(shop, ["drift of voltage_v"], silent)
    report = read_report(directory)
    champion = load_package(model_package, version="1")
    candidate = load_package(directory / PACKAGE, version="c")
    assert candidate.metrics["training"]["seed"] == report.seed == champion.metrics["training"]["seed"] + 1
    assert report.reasons == ["drift of voltage_v"]
    assert report.status == ("rejected" if report.worse else "pending")
    figures = report.comparison["test"]
    assert figures["candidate"]["modules"]["events"] == figures["champion"]["modules"]["events"] > 0
    assert figures["candidate"]["modules"] == candidate.metrics["test"]["modules"]
    assert json.loads((directory / "record" / "retraining.json").read_text())["seed"] == report.seed
    assert [p.name for p in shop.home.iterdir()] == ["000001"]  # nothing unfinished is left


@pytest.fixture
def shop(tmp_path: Path, model_package: Path, mlflow_url: str, unique_name: str) -> Workshop:
    """Version 1 is the champion; its successors are retrained."""
    register_package(renamed(model_package, tmp_path / "champion", unique_name), tracking_uri=mlflow_url)
    return workshop(tmp_path, f"models:/{unique_name}@champion", mlflow_url)


def bring(shop: Workshop, patience_s: float = 10.0) -> Report | None:
    return synchronise(shop, "challenger", patience_s, silent)


def another(shop: Workshop, package: Path, number: int, name: str) -> Path:
    """A candidate that waits, and is not the same as others."""
    directory = pending(shop, package, number, name)
    resealed(directory / PACKAGE, created_at=str(number))
    return directory


def alias(shop: Workshop, name: str, alias: str, version: str | None) -> None:
    with mlflow_client(shop.settings.tracking_uri or "") as client:
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, version)


def behind(shop: Workshop, name: str, alias: str = "challenger") -> str | None:
    return version_behind(name, alias, tracking_uri=shop.settings.tracking_uri)


def test_the_newest_candidate_waits_while_mlflow_is_down_and_is_registered_once(
    shop: Workshop, tmp_path: Path, model_package: Path, unique_name: str
) -> None:
    (port,) = free_ports(1)
    down = workshop(tmp_path, f"models:/{unique_name}@champion", f"http://127.0.0.1:{port}")
    first, second = (another(down, model_package, n, unique_name) for n in (1, 2))
    with pytest.raises(DependencyDownError):
        bring(down, 0.0)
    assert [read_report(d).status for d in (first, second)] == ["superseded", "pending"]
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, behind(shop, unique_name)) == ("registered", "2", "2")
    assert read_report(second) == done
    assert bring(shop) is None


def test_a_challenger_on_trial_is_left_alone_until_the_alias_is_free(
    shop: Workshop, model_package: Path, unique_name: str
) -> None:
    another(shop, model_package, 1, unique_name)
    on_trial = bring(shop)
    assert on_trial is not None
    directory = another(shop, model_package, 2, unique_name)
    waits = bring(shop)
    assert waits is not None
    assert waits == read_report(directory)
    assert waits.status == "pending"
    assert waits.waits_for == "challenger stands for version 2: promote that, or delete the alias"
    assert bring(shop) is None  # nothing new to tell
    assert behind(shop, unique_name) == on_trial.version == "2"
    alias(shop, unique_name, "challenger", None)
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, done.waits_for, behind(shop, unique_name)) == ("registered", "3", None, "3")


def test_a_challenger_that_is_the_champion_is_on_no_trial(
    shop: Workshop, model_package: Path, unique_name: str
) -> None:
    alias(shop, unique_name, "challenger", "1")
    another(shop, model_package, 1, unique_name)
    assert bring(shop) is not None
    assert behind(shop, unique_name) == "2"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("better", [True, False])
def test_a_candidate_is_compared_again_where_the_champion_is_another(
    shop: Workshop, model_package: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    directory = another(shop, model_package, 1, unique_name)
    register_package(
        resealed(shop.home.parent / "champion", created_at="later"), tracking_uri=shop.settings.tracking_uri
    )
    if not better:  # one that shows as worse on so few sites would have to be trained for that
        found = ["of 20 events, 5 that the champion warned of were lost and 0 won"]
        monkeypatch.setattr(training.retraining.compare, "worse", lambda *_: found)
    done = bring(shop)
    assert done is not None
    assert done == read_report(directory)
    assert done.champion == "2"
    assert done.comparison["test"]["candidate"]["modules"]["events"] > 0
    noted = json.loads((directory / "record" / "retraining.json").read_text())
    assert (noted["champion"], noted["comparison"]) == ("2", done.comparison)
    if better:
        assert (done.status, behind(shop, unique_name)) == ("registered", "3")
    else:
        assert (done.status, done.worse, behind(shop, unique_name)) == ("rejected", found, None)


def test_a_candidate_for_another_model_is_not_registered(shop: Workshop, model_package: Path, unique_name: str) -> None:
    another(shop, model_package, 1, f"{unique_name}-other")
    done = bring(shop)
    assert done is not None
    assert done.status == "rejected"
    assert f"the champion is a {unique_name} now" in done.worse[0]
    assert behind(shop, f"{unique_name}-other") is None


def test_what_was_registered_by_halves_is_completed_not_doubled(
    shop: Workshop, model_package: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = another(shop, model_package, 1, unique_name)

    def cut_off(*given: Any, **named: Any) -> Any:
        register_package(*given, **named | {"alias": "lost"})
        raise DependencyDownError("mlflow", "connection reset")

    monkeypatch.setattr(training.retraining.synchronise, "register_package", cut_off)
    with pytest.raises(DependencyDownError):
        bring(shop, 0.0)
    monkeypatch.undo()
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, read_report(directory).version) == ("registered", "2", "2")
    with mlflow_client(shop.settings.tracking_uri or "") as client:
        assert {v.version for v in client.search_model_versions(f"name='{unique_name}'")} == {"1", "2"}
