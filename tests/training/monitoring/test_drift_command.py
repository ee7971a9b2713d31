"""`hazardstream drift` and `hazardstream label`, on a real broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from common.cli_options import moment_ms
from common.times import DAY_MS
from local.process import free_ports, http_client
from pipelines.battery_hazard.simulator.plant.sensing import CO
from schemas.codec import decode
from tests.commands import hazardstream
from tests.drift_sites import START_MS, recording, sketches
from tests.harness import Stage, make_stage, wait_until
from tests.repository import ROOT
from training.monitoring.performance.labels import EVENT, Label
from training.monitoring.topics import MonitoringTopics
from worker.config.settings import Settings
from worker.model.package import load_package

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    return make_stage(kafka, topic_prefix, tmp_path, model_package)


def environment(stage: Stage) -> dict[str, str]:
    return {
        "HAZARDSTREAM_PIPELINE": str(stage.pipeline_file),
        "HAZARDSTREAM_MODEL": str(stage.model),
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap,
        "HAZARDSTREAM_CACHE_DIRECTORY": str(stage.directory / "cache"),
    }


@contextmanager
def command(stage: Stage, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command at work on a stage."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hazardstream", *arguments],
        env=os.environ | environment(stage),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(stage: Stage, *arguments: str, code: int = 0) -> Any:
    """What a command says with --json; its complaint where it fails."""
    done = hazardstream(*arguments, "--json", **environment(stage))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else done.stderr


def publish(stage: Stage, role: str, records: list[tuple[str, dict[str, Any]]]) -> None:
    settings = Settings(pipeline=str(stage.pipeline_file), bootstrap_servers=stage.bootstrap)
    with MonitoringTopics(settings) as topics:
        topics.publish(role, records)


def published(stage: Stage, role: str) -> list[dict[str, Any]]:
    schema, lookup = stage.pipeline.records[role].schema, stage.writer_schema_of
    return [decode(m.value(), lookup, schema) for m in stage.committed(role)]


@pytest.fixture
def drifting(stage: Stage) -> Stage:
    """A stage with the sketches of a site whose gas sensors shift on the ninth day, seen until the fourteenth."""

    def shift(values: Any, day: Any) -> None:
        values[..., CO] += np.where(day >= 8, 10.0, 0.0)

    recorded = recording(21, 14, modules=8).changed(shift)
    of = sketches(recorded, load_package(stage.model, version="1"), stage.pipeline)
    publish(stage, "sketches", [("all", sketch) for sketch in of])
    return stage


def test_drift_is_shown_and_reported_once(drifting: Stage, tmp_path: Path) -> None:
    gas = {"site": "all", "kind": "drift", "subject": "offgas_co_ppm"}
    shown = run(drifting, "drift", "--report", str(tmp_path / "report"))
    assert gas in shown["active"]
    assert not shown["sites"]["all"]["learning"]
    assert published(drifting, "events") == []
    page = (tmp_path / "report/index.html").read_text()
    assert "offgas_co_ppm" in page
    for plot in ("site-0-drift.png", "site-0-distributions.png"):
        assert plot in page
        assert (tmp_path / "report" / plot).read_bytes().startswith(b"\x89PNG")

    told = run(drifting, "drift", "--publish")["new_events"]
    assert published(drifting, "events") == told
    (event,) = (e for e in told if e["subject"] == "offgas_co_ppm")
    assert (event["kind"], event["state"]) == ("drift", "ACTIVE")
    assert 8 * DAY_MS < event["ts"] - START_MS <= 12 * DAY_MS
    assert event["value"] >= event["limit"]
    again = run(drifting, "drift", "--publish")
    assert again["new_events"] == []
    assert gas in again["active"]
    assert published(drifting, "events") == told


def test_a_new_baseline_ends_active_states(drifting: Stage) -> None:
    run(drifting, "drift", "--publish")
    since = "2026-01-09T00:00:00Z"
    assert "known are: all" in run(drifting, "drift", "--new-baseline", "elsewhere", "--since", since, code=2)
    anew = run(drifting, "drift", "--publish", "--new-baseline", "all", "--since", since)
    assert anew["active"] == []
    assert {e["state"] for e in anew["new_events"]} == {"RTN"}
    assert anew["sites"]["all"]["baseline_days"] == 5
    assert run(drifting, "drift", "--publish")["new_events"] == []


def test_a_new_baseline_from_a_time_to_come_is_refused(drifting: Stage) -> None:
    said = run(drifting, "drift", "--new-baseline", "all", "--since", "2162-01-09T00:00:00Z", code=2)
    assert "--since 2162-01-09T00:00:00Z is in the future" in said
    assert published(drifting, "events") == []


def test_the_watch_publishes_and_serves_metrics(drifting: Stage) -> None:
    port = free_ports(1)[0]
    with command(drifting, "drift", "--watch", "--every-s", "0.5", "--metrics-port", str(port)) as process:

        def active() -> bool:
            try:
                text = http_client().get(f"http://127.0.0.1:{port}/metrics").text
            except httpx.TransportError:
                assert process.poll() is None
                return False
            return 'hazardstream_drift_active{kind="drift",site="all",subject="offgas_co_ppm"} 1.0' in text

        wait_until(active, "drift in the metrics")
        before = published(drifting, "events")
        assert "offgas_co_ppm" in {e["subject"] for e in before}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert published(drifting, "events") == before


def alarm(module: str, ts: int, state: str = "ACTIVE") -> tuple[str, dict[str, Any]]:
    return module, {
        "alarm_id": f"{module}-{ts // DAY_MS}",
        "module_id": module,
        "rack_id": "Rack1",
        "state": state,
        "priority": "HIGH",
        "onset_ts": ts - 10_000,
        "ts": ts,
        "hazard_probability": 0.99,
        "peak_probability": 0.99,
        "contributions": [],
        "other_contributions": 0.0,
        "bias": 0.0,
        "model_name": "battery_hazard",
        "model_version": "3",
        "source_partition": 0,
        "source_offset": 0,
    }


def test_labels_and_alarms_give_precision_recall_and_lead(stage: Stage) -> None:
    with_limits = stage.pipeline_file.read_text() + "\n"
    stage.pipeline_file.write_text(with_limits.replace("monitor:\n", "monitor:\n  performance: {labels: 2}\n"))
    # A and B were warned of by 10 and 20 minutes, C was not; D's alarm was none; of E's nobody has said anything.
    publish(
        stage,
        "alarms",
        [alarm(m, START_MS - minutes * 60_000) for m, minutes in (("A", 10), ("B", 20), ("D", 50), ("E", 60))],
    )
    at = "2026-01-01T00:00:00Z"
    unknown = run(stage, "label", "--key", "A", "--at", at, "--kind", "event", code=2)
    assert "has no reading of module_id 'A'" in unknown
    for module in "ABC":
        run(stage, "label", "--key", module, "--at", at, "--kind", "event", "--force")
    run(
        stage,
        "label",
        "--key",
        "D",
        "--at",
        "2025-12-31T23:15:00Z",
        "--kind",
        "false_alarm",
        "--by",
        "operator",
        "--force",
    )
    run(stage, "label", "--key", "E", "--at", at, "--kind", "event", "--force")
    run(stage, "label", "--key", "E", "--at", at, "--kind", "withdrawn", "--note", "an exercise")
    seen = run(stage, "drift", "--publish")
    figures = seen["performance"]
    assert (figures["events"], figures["warned"], figures["false"], figures["alarms"]) == (3, 2, 1, 4)
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert figures["lead_median_s"] == 600.0
    assert figures["missed"] == [["C", START_MS]]
    (event,) = seen["new_events"]
    assert (event["kind"], event["subject"], event["state"], event["limit"]) == ("performance", "recall", "ACTIVE", 0.9)
    assert event["model_version"] == "3"
    run(stage, "label", "--key", "C", "--at", at, "--kind", "withdrawn")
    (event,) = run(stage, "drift", "--publish")["new_events"]
    assert (event["subject"], event["state"]) == ("recall", "RTN")


def test_a_label_of_no_known_kind_is_refused_in_words(stage: Stage) -> None:
    said = run(stage, "label", "--key", "A", "--at", "2026-01-01", "--kind", "fire", code=2)
    assert "event, false_alarm, withdrawn" in said


def test_a_label_of_a_time_to_come_is_refused_and_one_that_is_there_can_be_taken_back(stage: Stage) -> None:
    at = "2162-01-01T00:00:00Z"
    for kind in ("event", "false_alarm"):
        assert f"--at {at} is in the future" in run(stage, "label", "--key", "A", "--at", at, "--kind", kind, code=2)
    assert published(stage, "labels") == []
    mistyped = Label("A", moment_ms("--at", at), EVENT).record(stage.pipeline)
    publish(stage, "labels", [("A", mistyped)])
    with command(stage, "drift", "--json") as process:
        said, complaint = process.communicate(timeout=120)
    assert json.loads(said.splitlines()[-1])["performance"] is None
    assert "label in the future ignored" in complaint
    run(stage, "label", "--key", "A", "--at", at, "--kind", "withdrawn")
    with command(stage, "drift", "--json") as process:
        assert "time to come" not in process.communicate(timeout=120)[1]
