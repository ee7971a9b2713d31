"""The sidecar of a real worker."""

import json
from typing import Any

import pytest

from common.times import iso_utc
from tests.harness import START_MS, Stage, reading, wait_until

pytestmark = pytest.mark.kafka


def test_the_sidecar_shows_health_metrics_model_schemas_and_windows(stage: Stage) -> None:
    stage.publish_readings(reading(m, START_MS + i * 10_000, soc_percent=None) for i in range(8) for m in "ab")
    with stage.worker() as worker:
        worker.await_ready()
        worker.await_consumed(16)

        def get(path: str) -> dict[str, Any]:
            answer = worker.answer(path)
            assert answer.status_code == 200, answer.text
            content: dict[str, Any] = answer.json()
            return content

        assert get("/live")["live"] is True
        assert get("/ready") == {"ready": True, "reasons": [], "warnings": []}
        health = get("/health")
        assert health["phase"] == "running"
        assert health["guarantee"] == "exactly_once"
        assert health["partitions"]["ready"] == [0, 1]
        wait_until(lambda: get("/health")["lag"] == {"0": 0, "1": 0}, "no lag")
        model = get("/model")
        assert len(model["features"]["names"]) == 30
        assert model["alarm_policy"]["setpoint"] > 0
        assert model["manifest"]["files"].keys() >= {"booster.ubj", "scaler.json"}
        assert get("/schema")["input"]["schema"]["name"] == "SensorReading"
        found = get("/keys/a")
        assert found["window"]["ts"] == [iso_utc(START_MS + i * 10_000, "milliseconds") for i in range(8)]
        assert found["window"]["voltage_v"] == [51.0] * 8
        assert found["window_scaled"]["voltage_v"] == pytest.approx([51.0 / 14] * 8)
        assert (found["last_scored"]["ts"], found["not_assessable"]) == (found["window"]["ts"][-1], None)
        assert found["last_scored"]["sensors"]["soc_percent"] is None
        assert worker.answer("/keys/nobody").status_code == 404
        assert "/keys/{key}" in json.dumps(get("/openapi.json"))
        assert worker.answer("/docs").status_code == 200
        assert worker.metric("hazardstream_scored_total") == 16
        wait_until(lambda: worker.metric("hazardstream_windows_held") == 2, "windows of both modules shown")
        assert worker.metric("hazardstream_latency_from_broker_seconds_count") == 16
        assert worker.metric("hazardstream_stage_duration_seconds_count", stage="publish") >= 1
        assert worker.metric("hazardstream_consumer_lag_messages", partition="0") == 0
        assert worker.metric("hazardstream_model_info") == 1


def test_every_metric_has_a_meaning_and_the_documented_prefix(stage: Stage) -> None:
    with stage.worker() as worker:
        text = worker.get("/metrics") or wait_until(lambda: worker.get("/metrics"), "metrics")
    described = {line.split()[2] for line in text.text.splitlines() if line.startswith("# HELP")}
    assert described
    assert all(name.startswith(("hazardstream_", "process_")) for name in described)
    assert all(len(line.split(maxsplit=3)) == 4 for line in text.text.splitlines() if line.startswith("# HELP"))


def test_not_ready_says_why_when_topics_are_missing(stage: Stage) -> None:
    text = stage.pipeline_file.read_text().replace("battery.hazards", "battery.nowhere")
    stage.pipeline_file.write_text(text)
    with stage.worker() as worker:
        assert "hazardstream topics create" in worker.await_reason("missing topics")
        assert worker.answer("/live").status_code == 200
        assert worker.stop() == 0


def test_a_port_that_is_taken_is_reported(stage: Stage) -> None:
    with stage.worker() as first:
        wait_until(lambda: first.get("/live"), "the first is up")
        with stage.worker(http_port=first.address.rpartition(":")[2]) as second:
            assert second.process.wait(60) == 2
            said = second.log.read_text()
            assert "choose another port with --http-port" in said
            assert "Traceback" not in said
