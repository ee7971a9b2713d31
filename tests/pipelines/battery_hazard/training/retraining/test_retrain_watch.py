"""`hazardstream retrain --watch`: what it answers, how often, and what it goes on past."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

import pipelines.battery_hazard.training.retraining.compare
import pipelines.battery_hazard.training.retraining.synchronise
import pipelines.battery_hazard.training.retraining.watch
from common.errors import UserError
from hazardstream.cli import app
from pipelines.battery_hazard.training.fitting.train import silent
from pipelines.battery_hazard.training.retraining.attempt import REPORT, Workshop, read_report, write_report
from pipelines.battery_hazard.training.retraining.triggers import Triggers
from pipelines.battery_hazard.training.retraining.watch import watch
from tests.harness import make_stage
from tests.retrainings import pending, workshop
from training.monitoring.topics import MonitoringTopics
from worker.config.settings import Settings


@pytest.fixture
def topics(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Iterator[MonitoringTopics]:
    stage = make_stage(kafka, topic_prefix, tmp_path, model_package)
    with MonitoringTopics(Settings(pipeline=str(stage.pipeline_file), bootstrap_servers=stage.bootstrap)) as opened:
        yield opened


@pytest.mark.kafka
@pytest.mark.parametrize("held", ["", "5", '["half'])
def test_a_damaged_memory_of_what_was_answered_is_reported(topics: MonitoringTopics, tmp_path: Path, held: str) -> None:
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
def test_a_trigger_path_that_is_no_file_is_reported(topics: MonitoringTopics, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trigger file .* directory"):
        Triggers(topics, tmp_path / "answered.json", tmp_path).waiting()
    done = CliRunner().invoke(app, ["retrain", "--watch", "--trigger-file", str(tmp_path)], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "is a directory" in done.stderr


def look(shop: Workshop, triggers: Triggers, *, times: int, at_most_every_s: float = 0.0) -> None:
    """What `hazardstream retrain --watch` does in this number of looks."""
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
    monkeypatch.setattr(
        pipelines.battery_hazard.training.retraining.watch, "_PATIENCE_S", 0.0
    )  # there is no MLflow to wait for
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
    assert [event for event, _ in told] == ["unreadable retraining ignored", "not retrained"] * 2
    assert str(report) in told[0][1]
    assert "answered.json" in told[1][1]


def test_a_damaged_report_is_reported_before_the_training(tmp_path: Path, model_package: Path) -> None:
    shop = workshop(tmp_path, str(model_package), "http://127.0.0.1:1")
    (pending(shop, model_package, 1, "battery_hazard") / REPORT).write_text("{}")
    command = ["retrain", "--small", "--days", "0", "--home", str(shop.home), "--model", str(model_package)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, UserError)
    assert f"remove {shop.home / '000001'}" in str(done.exception)


def test_an_alias_of_a_bad_name_is_reported_before_the_training(tmp_path: Path) -> None:
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
