"""Commands without the services that they need: one exit code, one message, one JSON object, soon."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest
import structlog

import producers.kafka_publisher
import worker.kafka.reachable
from common.errors import DEPENDENCY_DOWN
from sink.app import Given, run_sink
from tests.commands import hazardstream
from tests.harness import wait_until
from worker.config.settings import load_settings
from worker.model import mlflow_client

NOBODY = "127.0.0.1:1"
THEN = "2026-01-31T12:00:00Z"
COMMANDS = [
    "doctor --json --model bundled",
    "tail alarms --json",
    f"explain --key pump-7 --at {THEN} --json",
    "topics create --json",
    "topics check --json",
    "dlq list --json",
    "dlq show --json",
    "dlq redrive --yes --json",
    "simulate --duration 5 --json",
    "replay RECORDING --json",
    "drift --json",
    f"label --key pump-7 --at {THEN} --kind event --json",
    "promote --json",
]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.kafka.reachable, "_TRIES_S", (0.3,))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.csv"
    path.write_text(f"module_id,rack_id,ts,voltage_v\nmodule,rack,{THEN},50\n")
    return path


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_the_same_of_a_broker_that_is_down(command: str, recording: Path, tmp_path: Path) -> None:
    arguments = command.replace("RECORDING", str(recording)).split()
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = hazardstream(*arguments, "--bootstrap", NOBODY, MLFLOW_TRACKING_URI=store)
    assert done.returncode == DEPENDENCY_DOWN, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    if "findings" in told:
        told["error"] = next(f["text"] for f in told["findings"] if f["down"])
    else:
        assert told["dependency"] == "broker"
        assert done.stderr.splitlines() == [told["error"]]  # and nothing from the client
    assert "127.0.0.1:1: Connection refused; nothing listens there: start the broker, or correct" in told["error"]


def test_a_broker_that_is_silent_is_given_up_within_seconds() -> None:
    hazardstream("--version")  # the first command of a test run has to import everything
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = hazardstream("topics", "check", "--bootstrap", address)
        assert (done.returncode, time.monotonic() - began < 5) == (DEPENDENCY_DOWN, True)
    assert f"no answer from {address} within 3 s; start the broker, or give its address" in done.stderr


def test_a_model_registry_that_is_down_is_told_in_one_line() -> None:
    done = hazardstream("model", "info", "models:/m@champion", "--json", MLFLOW_TRACKING_URI=f"http://{NOBODY}")
    assert done.returncode == DEPENDENCY_DOWN
    told = json.loads(done.stdout)
    assert told["dependency"] == "mlflow"
    assert done.stderr.splitlines() == [told["error"]]


def test_a_model_registry_that_is_silent_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_client, "_FIRST_ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = hazardstream("model", "info", "models:/m@champion", "--json", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == DEPENDENCY_DOWN
    told = json.loads(done.stdout)
    assert told["dependency"] == "mlflow"
    assert "no complete response within 0.3 s; start MLflow, or correct MLFLOW_TRACKING_URI" in told["error"]


def test_the_doctor_asks_all_services_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.kafka.reachable, "_TRIES_S", (3.0,))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        where = ("--bootstrap", address, "--registry", f"http://{address}")
        done = hazardstream("doctor", "--json", *where, MLFLOW_TRACKING_URI=f"http://{address}")
        took_s = time.monotonic() - began
    assert done.returncode == DEPENDENCY_DOWN
    down = [found["subject"] for found in json.loads(done.stdout)["findings"] if found["down"]]
    assert down == ["broker", "registry", "model"]
    assert took_s < 6  # each has 3 s


def test_a_sink_says_that_it_waits_for_a_silent_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worker.kafka.reachable, "_TRIES_S", (0.3,))
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent, structlog.testing.capture_logs() as said:
        broker = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = load_settings(pipeline="battery_hazard", bootstrap_servers=broker)
        given = Given(f"sqlite:///{tmp_path / 'stored.sqlite'}")
        storing = threading.Thread(target=run_sink, args=(settings, given, stop))
        storing.start()
        wait_until(lambda: said, "it says something")
        stop.set()
        storing.join()
    assert (said[0]["event"], said[0]["dependency"]) == ("waiting", "broker")


@pytest.mark.kafka
def test_a_schema_registry_that_is_silent_is_given_up_within_seconds(
    kafka: str, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producers.kafka_publisher, "COMMAND_TIMEOUT_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        where = ("--bootstrap", kafka, "--pipeline", str(pipeline_file), "--registry", address)
        done = hazardstream("simulate", "--duration", "1", "--json", *where)
    assert done.returncode == DEPENDENCY_DOWN
    assert json.loads(done.stdout)["dependency"] == "schema registry"


@pytest.mark.kafka
def test_a_schema_registry_that_is_down_is_told_in_one_line(kafka: str, pipeline_file: Path) -> None:
    where = ("--bootstrap", kafka, "--pipeline", str(pipeline_file), "--registry", f"http://{NOBODY}")
    done = hazardstream("simulate", "--duration", "1", "--json", *where)
    assert done.returncode == DEPENDENCY_DOWN
    told = json.loads(done.stdout)
    assert told["dependency"] == "schema registry"
    assert "or omit --registry" in told["error"]
    assert done.stderr.splitlines() == [told["error"]]


def test_other_errors_are_json_too() -> None:
    done = hazardstream("dlq", "list", "--reason", "boredom", "--json")
    assert done.returncode == 2
    assert "--reason boredom: unknown" in json.loads(done.stdout)["error"]
