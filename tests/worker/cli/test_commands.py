"""Commands as a newcomer meets them: help, and what is said when something is wrong."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import DEPENDENCY_DOWN
from schemas.registry import SchemaRegistry
from tests.commands import hazardstream
from tests.flagship import write_folder
from tests.harness import START_MS, Stage, reading

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
    assert done.returncode == DEPENDENCY_DOWN
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
    assert "all topics exist already; " in hazardstream("topics", "create", *options).stdout
    assert "the topics exist and have suitable settings" in hazardstream("topics", "check", *options).stdout
    assert json.loads(hazardstream("topics", "check", "--json", *options).stdout)["warnings"] == []


def test_topics_create_adds_partitions_only_when_asked_to(stage: Stage) -> None:
    options = ("topics", "create", "--bootstrap", stage.bootstrap, "--pipeline", str(stage.pipeline_file))
    source = stage.pipeline.input.topic
    fewer = hazardstream(*options, "--partitions", "1")
    assert (fewer.returncode, "Kafka takes no partitions away" in fewer.stderr) == (2, True)
    other = hazardstream(*options, "--partitions", "3")
    assert other.returncode == 2
    assert source in other.stderr
    assert "have 2 partitions, not 3" in other.stderr
    assert "`hazardstream topics create --partitions 3 --add-partitions`" in other.stderr
    added = hazardstream(*options, "--partitions", "3", "--add-partitions")
    assert added.returncode == 0, added.stderr
    assert added.stdout.splitlines()[-1] == f"{source}: 3 partitions, 2 before"  # the input comes last
    assert "a key may be in another partition" in added.stderr
    again = json.loads(hazardstream(*options, "--partitions", "3", "--json").stdout)
    assert again == {"created": [], "had_fewer_partitions": {}, "partitions": 3}


def test_tail_continues_after_what_its_group_has_printed(stage: Stage, unique_name: str) -> None:
    stage.publish_readings(reading(f"m{n}", START_MS) for n in range(5))
    where = ("--bootstrap", stage.bootstrap, "--pipeline", str(stage.pipeline_file))
    tail = ("tail", "input", "--group", unique_name, "--from-beginning", "--json", *where)
    printed = [json.loads(line) for n in ("2", "3") for line in hazardstream(*tail, "--limit", n).stdout.splitlines()]
    assert sorted(record["key"] for record in printed) == [f"m{n}" for n in range(5)]


def test_tail_says_what_it_waits_for(stage: Stage) -> None:
    where = ("--bootstrap", stage.bootstrap, "--pipeline", str(stage.pipeline_file))
    stage.publish_readings([reading("m0", START_MS)])
    command = [sys.executable, "-m", "hazardstream", "tail", "input", *where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        told = waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 0
    assert told.startswith(f"waiting for new records of {stage.pipeline.input.topic}; --from-beginning shows")


def test_tail_of_a_topic_that_is_not_there(kafka: str) -> None:
    done = hazardstream("tail", "no.such.topic", "--bootstrap", kafka)
    assert done.returncode == 2
    assert "there is no topic no.such.topic" in done.stderr
