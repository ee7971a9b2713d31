"""Every way to get a pipeline wrong is told at start, by every command, with file, line and fix."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import UserError
from hazardstream.cli import app
from tests.flagship import FILE, write_folder
from tests.wrong_pipelines import GOOD, line_of, told, write
from worker.config.pipeline import load_pipeline

# What is replaced in the pipeline that comes with the package, by what; what is said, and the marker of its line.
WRONG: dict[str, tuple[str, str, str, str]] = {
    "unknown key": ("  key: module_id", "  kee: module_id", r"input\.kee: .*did you mean 'key'\?", "kee:"),
    "missing topic": ("  topic: battery.readings\n", "", r"input\.topic: it is missing; add it", "input:"),
    "time that is not named": (
        "  time: ts\n",
        "",
        r"field 'ts': nothing is written to it; name it as key, group or time of input, or copy it with outputs\.echo",
        "schema: HazardPrediction",
    ),
    "unknown section": ("topology:", "topolgy:", r"topolgy: .*did you mean 'topology'\?", "topolgy:"),
    "unknown key below": ("schema: HazardAlarm}", "schma: HazardAlarm}", r"schma: .*did you mean 'schema'\?", "schma:"),
    "number for a topic": (
        "topic: battery.readings\n",
        "topic: 5\n",
        "must be text; put it in quotes, not 5",
        "topic: 5",
    ),
    "list for a section": ("input:\n", "input: []\nbefore:\n", "input: it must be a mapping", "input:"),
    "illegal topic": ("topic: battery.readings\n", "topic: 'a b'\n", r"input\.topic: .*not 'a b'", "'a b'"),
    "empty topic": ("topic: battery.readings\n", "topic: ''\n", r"input\.topic: ", "topic: ''"),
    "dots for a topic": ("topic: battery.readings\n", "topic: '..'\n", "not a legal name of a topic", "'..'"),
    "topic used twice": (
        "topic: battery.hazards,",
        "topic: battery.predictions,",
        "is the topic of alarms, too",
        "HazardP",
    ),
    "output into the input": (
        "topic: battery.sketches,",
        "topic: battery.readings,",
        "topic of sketches, too",
        "  topic:",
    ),
    "unknown key field": ("key: module_id", "key: modul_id", r"input\.key: .*did you mean 'module_id'\?", "key: modul"),
    "unknown time": ("time: ts", "time: timestamp", r"input\.time: .* has no field 'timestamp'", "time: timestamp"),
    "time that is text": ("time: ts", "time: rack_id", "is 'string'; a time must be 'long'", "time: rack_id"),
    "key that is a sensor": (
        "key: module_id",
        "key: voltage_v",
        "field 'voltage_v' is .*; a key must be 'string'",
        "key: voltage_v",
    ),
    "group that is a time": ("group: rack_id", "group: ts", "timestamp-millis; a group must be 'string'", "group: ts"),
    "no such record": ("schema: SensorReading", "schema: Odd", r"no Odd\.avsc in .*; name one of", "schema: Odd"),
    "record misspelt": (
        "schema: SensorReading",
        "schema: SensorReeding",
        r"no SensorReeding\.avsc in .*; did you mean 'SensorReading'\?",
        "Reeding",
    ),
    "schema elsewhere": (
        "schema: SensorReading",
        "schema: ../SensorReading",
        r"no \.\./SensorReading\.avsc in",
        "../S",
    ),
    "number for a schema": ("schema: SensorReading", "schema: 5", "must be text; put it in quotes, not 5", "schema: 5"),
    "code for a record": (
        "schema: SensorReading",
        "record: own.records:SensorReading",
        r"input\.record: a pipeline names no Python code; write schema: NAME instead, put NAME\.avsc beside",
        "record:",
    ),
    "topics that Kafka takes for one": (
        "topic: battery.hazards,",
        "topic: battery_predictions,",
        "'battery_predictions' and 'battery.predictions' for one, as its metrics write _ for a dot; rename one of them",
        "battery_predictions",
    ),
    "illegal name of a field": (
        "positive: hazardous",
        "positive: 1st hazard",
        "'1st hazard' is no legal name of an Avro field; write letters, digits and _",
        "fields:",
    ),
    "delay beyond time": ("alarm: {}", f"alarm: {{on_delay_ms: {10**20}}}", "at most", "alarm: {"),
    "setpoint that is text": ("alarm: {}", "alarm: {setpoint: '0.5'}", "must be a number, not '0.5'", "alarm: {"),
    "negative limit": (
        "max_future_ms: 300000",
        "max_future_ms: -1",
        "at least 0, not -1",
        "max_future",
    ),
    "endless limit": ("max_future_ms: 300000", f"max_future_ms: {10**30}", "at most", "max_future"),
    "limit beyond what windows hold": (
        "max_future_ms: 300000",
        "max_future_ms: 4294907296",
        "at most 4294907295",
        "max_future",
    ),
    "yes for a number": ("max_future_ms: 300000", "max_future_ms: yes", "whole number, not True", "max_future"),
    "text for a number": ("max_future_ms: 300000", "max_future_ms: '5'", "whole number, not '5'", "max_future"),
    "unknown choice": ("invalid_sensor: mask", "invalid_sensor: drop", "'mask' or 'dead_letter', not 'drop'", "drop"),
    "no such schema": ("schema: HazardAlarm}", "schema: Nothing}", r"no Nothing\.avsc in", "Nothing"),
    "schema of another": ("schema: HazardAlarm}", "schema: HazardState}", "no field 'contributions'", "alarms:"),
    "unknown word": ("{probability: h", "{probabilty: h", "did you mean 'probability'", "probabilty"),
    "two words in one": ("positive: hazardous", "positive: hazard_probability", "another value already", "fields:"),
    "word over another": ("positive: hazardous", "positive: threshold", "carries another value already", "fields:"),
    "field not there": (
        "positive: hazardous",
        "positive: hazard",
        "no field 'hazard', which|nothing is written",
        "Prediction",
    ),
    "unknown parameter": ("groups: {}", "groups: {R: {capacity: 3}}", "did you mean 'capacity_ah'", "groups:"),
    "scaled field that is no sensor": (
        "per: {voltage_v:",
        "per: {voltage:",
        r"topology\.per\.voltage: the input has no sensor of this name; did you mean 'voltage_v'\?",
        "per:",
    ),
    "scaled field like no sensor": (
        "per: {voltage_v:",
        "per: {module_id:",
        r"topology\.per\.module_id: the input has no sensor of this name; correct it",
        "per:",
    ),
    "scaled by an unknown parameter": (
        "voltage_v: cells_in_series",
        "voltage_v: cells_in_serie",
        r"topology\.per\.voltage_v: topology\.default has no parameter 'cells_in_serie'; add it there, or correct",
        "per:",
    ),
    "parameter below zero": ("capacity_ah: 100,", "capacity_ah: -1,", "greater than 0, not -1", "default:"),
    "parameter without end": ("capacity_ah: 100,", "capacity_ah: .inf,", "must be a finite number", "default:"),
    "parameter that is text": ("capacity_ah: 100,", "capacity_ah: big,", "a number, not 'big'", "default:"),
    "number for a key": ("keys: {} ", "keys: {7: {}} ", "the name 7 is not text; put it in quotes", "keys:"),
    "unknown policy": (
        "alarm: {}",
        "alarm: {setpont: 0.5}",
        r"alarm\.setpont: .*did you mean 'setpoint'\?",
        "alarm: {",
    ),
    "setpoint of 1": ("alarm: {}", "alarm: {setpoint: 1}", "less than 1, not 1", "alarm: {"),
    "deadband too wide": (
        "alarm: {}",
        "alarm: {setpoint: 0.5, deadband: 0.6}",
        "must be smaller than setpoint",
        "alarm: {",
    ),
    "delay below zero": ("alarm: {}", "alarm: {on_delay_ms: -5}", "at least 0, not -5", "alarm: {"),
    "no priority": (
        "alarm: {}",
        "alarm: {setpoint: 0.5, priorities: {}}",
        r"no priority begins at or below the setpoint 0\.5, there is none; correct one of them$",
        "alarm: {",
    ),
    "priority above 1": ("alarm: {}", "alarm: {priorities: {low: 0.2, high: 7}}", "must be a probability", "alarm: {"),
    "site without group": ("  # site: ", "  site: {pattern: 'a'} #", "must hold one group", "site:"),
    "site that is no pattern": ("  # site: ", "  site: {pattern: '('} #", "no regular expression", "site:"),
    "share above 1": (
        "  # performance: {days: 30,",
        "  performance: {recall: 7} # {",
        "at most 1",
        "recall",
    ),
    "days without end": (
        "  # performance: {days: 30,",
        f"  performance: {{days: {10**9}}} # {{",
        "at most",
        "days: 1",
    ),
    "name with a slash": ("name: battery_hazard", "name: ../x", r"name: .*not '\.\./x'", "name:"),
    "empty model": (
        "model: models:/battery_hazard@champion",
        "model: ''",
        "model: .*at least 1 character",
        "model: ''",
    ),
    "nothing for a section": ("model: models:/battery_hazard@champion", "model:", "model: it must be text", "model:"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pipeline_is_reported_with_file_line_and_fix(tmp_path: Path, case: str) -> None:
    old, new, said, marker = WRONG[case]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    faults = told(write(tmp_path, text))
    found = [fault for fault in faults if re.search(said, fault)]
    assert found, "\n".join(faults)
    assert int(found[0].removeprefix(str(tmp_path / "own.yaml")).split(":")[1]) == line_of(text, marker), found


def test_files_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    for path, said in {
        tmp_path / "no.yaml": "there is no such file",
        tmp_path: "the folder has no pipeline.yaml",
        tmp_path / "folder.yaml": "the folder has no pipeline.yaml",
        Path("no_such_name"): "no such file or folder; .* one of: absenteeism, battery_hazard",
    }.items():
        if path.name == "folder.yaml":
            path.mkdir()
        with pytest.raises(UserError, match=said):
            load_pipeline(str(path))


def test_a_pipeline_is_given_by_folder_file_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_folder(tmp_path / "own", GOOD.replace("name: battery_hazard", "name: own"))
    write_folder(tmp_path / "own", GOOD.replace("name: battery_hazard", "name: other"), file="other.yml")
    for given, name in {
        "battery_hazard": "battery_hazard",
        str(FILE.parent): "battery_hazard",
        str(own.parent): "own",
        str(own): "own",
        str(own.parent / "other.yml"): "other",
    }.items():
        assert load_pipeline(given).name == name
    monkeypatch.chdir(tmp_path)
    assert load_pipeline("own").name == "own"
    assert load_pipeline("own").folder == Path("own")
    # A folder of the user's own goes before one that comes with hazardstream, if it is a pipeline's.
    (tmp_path / "battery_hazard").mkdir()
    assert load_pipeline("battery_hazard").folder == FILE.parent
    (tmp_path / "own").rename(tmp_path / "battery_hazard")
    assert load_pipeline("battery_hazard").name == "own"


def test_a_sensor_may_be_scaled_by_any_declared_parameter(tmp_path: Path) -> None:
    text = GOOD.replace("per: {voltage_v: cells_in_series,", "per: {soc_percent: capacity_ah,")
    topology = load_pipeline(str(write(tmp_path, text))).topology
    assert topology.per == {"soc_percent": "capacity_ah", "current_a": "capacity_ah"}


def test_all_faults_are_reported_at_once_in_order_of_lines(tmp_path: Path) -> None:
    text = (
        GOOD.replace("time: ts", "time: when")
        .replace("{probability: h", "{prob: h")
        .replace("groups: {}", "groups: {R: {x: 1}}")
        .replace("alarm: {}", "alarm: {setpoint: 3}")
    )
    faults = told(write(tmp_path, text))
    assert len(faults) == 4
    lines = [int(fault.split(":")[1]) for fault in faults]
    assert lines == sorted(lines)


@pytest.mark.parametrize("value", ["!!bool abc", "!!timestamp abc", "!!int abc", "!!omap abc", '"\\ud800"'])
def test_a_value_that_yaml_cannot_make_is_reported(tmp_path: Path, value: str) -> None:
    told(write(tmp_path, GOOD.replace("name: battery_hazard", f"name: {value}")))


def test_hostile_text_in_a_file_does_not_reach_the_terminal(tmp_path: Path) -> None:
    told(write(tmp_path, GOOD.replace("key: module_id", 'key: "a\\e[31m\\u202e[/bold]"')))
    told(write(tmp_path, GOOD + '"\\e[2J": 1\n'))


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker"],
        ["doctor"],
        ["pipeline", "check"],
        ["tail", "alarms"],
        ["explain", "--key", "a", "--at", "0"],
        ["topics", "check"],
        ["topics", "create"],
        ["dlq", "list"],
        ["dlq", "show"],
        ["dlq", "redrive", "--yes"],
        ["drift"],
    ],
)
def test_every_command_refuses_it(tmp_path: Path, arguments: list[str]) -> None:
    file = write(tmp_path, GOOD.replace("time: ts", "time: when"))
    broker = [] if arguments[0] == "pipeline" else ["--bootstrap", "127.0.0.1:1"]
    done = CliRunner().invoke(app, [*arguments, "--pipeline", str(file), *broker])
    if arguments in (["doctor"], ["pipeline", "check"]):
        assert done.exit_code == 1
        assert f"{file}:10: input.time" in done.output.replace("\n", "")
    else:
        assert isinstance(done.exception, UserError), done.output
        assert f"{file}:10: input.time" in str(done.exception)


def test_doctor_reports_all_faults_as_json(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.replace("time: ts", "time: when").replace("key: module_id", "key: id"))
    done = CliRunner().invoke(app, ["doctor", "--json", "--pipeline", str(file), "--bootstrap", "127.0.0.1:1"])
    findings = [f for f in json.loads(done.output)["findings"] if f["subject"] == "pipeline"]
    assert [f["verdict"] for f in findings] == ["wrong", "wrong"]
