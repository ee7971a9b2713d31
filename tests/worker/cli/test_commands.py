"""Commands as a newcomer meets them: help, and what is said when something is wrong."""

import json
from pathlib import Path

import pytest

from schemas.registry import SchemaRegistry
from tests.commands import hazardstream
from tests.flagship import write_folder
from tests.harness import Stage

COMMANDS = [
    "worker",
    "doctor",
    "tail",
    "explain",
    "backtest",
    "simulate",
    "replay",
    "train",
    "tune",
    "evaluate",
    "demo",
]
COMMANDS += ["topics create", "topics check", "dlq list", "dlq show", "dlq redrive"]
COMMANDS += ["model export", "model info", "model verify"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = hazardstream(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"hazardstream {command.split(maxsplit=1)[0]}" in done.stdout
    assert "Example:" in done.stdout


@pytest.mark.slow  # waits for a broker that does not answer
def test_doctor_on_a_broker_that_is_down_says_so_and_what_to_do() -> None:
    done = hazardstream("doctor", "--bootstrap", "127.0.0.1:1", "--model", "/nowhere", "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout.splitlines()[-1])["findings"]
    wrong = {f["subject"]: f["text"] for f in findings if f["verdict"] == "wrong"}
    assert "127.0.0.1:1" in wrong["broker"]
    assert wrong["broker"].count("KAFKA_BOOTSTRAP_SERVERS") == 1  # what to do is said once
    assert "/nowhere" in wrong["model"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow  # waits for a broker that does not answer
def test_doctor_reports_a_mistyped_setting() -> None:
    done = hazardstream("doctor", "--bootstrap", "127.0.0.1:1", "--json", HAZARDSTREAM_CHALENGER="models:/a@b")
    (found,) = [f for f in json.loads(done.stdout)["findings"] if f["subject"] == "settings"]
    assert found["verdict"] == "warning"
    assert "HAZARDSTREAM_CHALENGER is not a setting; did you mean HAZARDSTREAM_CHALLENGER?" in found["text"]


def test_doctor_is_content_when_all_is_well(stage: Stage) -> None:
    done = hazardstream(
        "doctor", "--bootstrap", stage.bootstrap, "--model", str(stage.model), "--pipeline", str(stage.pipeline_file)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong" not in done.stdout


def test_doctor_finds_missing_topics(kafka: str, model_package: Path) -> None:
    done = hazardstream("doctor", "--bootstrap", kafka, "--model", str(model_package))
    assert done.returncode == 1
    assert "hazardstream topics create" in done.stdout


@pytest.mark.registry
def test_doctor_finds_a_wrong_schema(kafka: str, registry: str, stage: Stage) -> None:
    wrong = {"type": "record", "name": "SensorReading", "fields": [{"name": "module_id", "type": "string"}]}
    SchemaRegistry(registry).register(f"{stage.pipeline.input.topic}-value", wrong)
    done = hazardstream(
        "doctor", "--bootstrap", kafka, "--pipeline", str(stage.pipeline_file), "--registry", registry,
        "--model", str(stage.model),
    )  # fmt: skip
    assert done.returncode == 1
    assert "rack_id" in done.stdout
    assert "correct the producer's schema" in done.stdout


def test_a_pipeline_file_with_a_mistake_is_reported_by_field(tmp_path: Path) -> None:
    text = "name: x\ninput: {topic: t, schema: SensorReading, key: a, group: b, tme: c}\n"
    file = write_folder(tmp_path, text, file="p.yaml")
    done = hazardstream("worker", "--pipeline", str(file), "--http-port", "0")
    assert done.returncode == 2
    assert "p.yaml:2: input.tme: there is no such setting; did you mean 'time'?" in done.stderr
    assert "outputs: it is missing; add it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_file_that_is_missing_is_reported() -> None:
    done = hazardstream("topics", "check", KAFKA_SASL_PASSWORD_FILE="/run/secrets/none")  # noqa: S106 - a path
    assert done.returncode == 2
    assert "KAFKA_SASL_PASSWORD_FILE=/run/secrets/none: cannot be read" in done.stderr


def test_topics_create_then_check(kafka: str, stage: Stage) -> None:
    options = ("--bootstrap", kafka, "--pipeline", str(stage.pipeline_file))
    assert "all topics exist already" in hazardstream("topics", "create", *options).stdout
    assert "the topics exist and have suitable settings" in hazardstream("topics", "check", *options).stdout


def test_tail_of_a_topic_that_is_not_there(kafka: str) -> None:
    done = hazardstream("tail", "no.such.topic", "--bootstrap", kafka)
    assert done.returncode == 2
    assert "there is no topic no.such.topic" in done.stderr
