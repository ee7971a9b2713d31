"""Pipelines of any model on any topic, in memory: rows in, predictions, alarms and dead letters out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from tests.flagship import PIPELINE
from tests.plain_pipelines import model, plain_pipeline
from worker.in_memory import START_MS, InMemory, Message
from worker.model.contract import Task
from worker.model.package import ModelPackage
from worker.model.package_files import PackageError

KEYED = "  key: pump\n  time: at"


def rows(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"pressure": 1.0, "site": "north"} | row for row in given]


def test_every_reading_of_a_topic_without_key_and_time_is_scored_however_often_it_comes(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, "regression", outputs="  echo: [site, flow]")

    found = InMemory(pipeline, model(Task.REGRESSION, "flow", "pressure", error_band=0.5)).process(
        [*rows({"flow": 2.0}, {"flow": 2.0}, {}), Message({"pressure": 7.0}, key=b"\xff\x00", timestamp_ms=START_MS)]
    )

    assert [p["value"] for p in found.predictions] == [3.0, 3.0, 1.0, 7.0]
    assert [(p["site"], p["flow"]) for p in found.predictions] == [
        ("north", 2.0),
        ("north", 2.0),
        ("north", None),
        (None, None),
    ]
    assert {p["error_band"] for p in found.predictions} == {0.5}
    assert [p["source_offset"] for p in found.predictions] == [0, 1, 2, 3]
    assert (found.dead_letters, found.alarms, found.duplicates) == ([], [], 0)


def test_a_class_is_predicted_with_the_probability_of_each(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, "multiclass")
    several = model(Task.MULTICLASS, "pressure", classes=("dry", "wet"))

    found = InMemory(pipeline, several).process(rows({"pressure": 3.0}, {"pressure": -3.0}))

    assert [p["predicted_class"] for p in found.predictions] == ["wet", "dry"]
    assert found.predictions[0]["probabilities"] == pytest.approx({"dry": 0.0474, "wet": 0.9526}, abs=1e-4)


def test_without_alarms_the_threshold_is_the_models(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path)

    found = InMemory(pipeline, model(Task.BINARY, "pressure", threshold=0.9)).process(rows({}, {"pressure": 3.0}))

    assert [(p["positive"], p["threshold"]) for p in found.predictions] == [(False, 0.9), (True, 0.9)]


def test_texts_reach_the_model_by_name(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, "regression")
    found = InMemory(pipeline, model(Task.REGRESSION, ("site", "string"), "pressure")).process(
        rows({}, {"site": None}, {"site": "süd"})
    )

    assert found.outcomes[0].scored.features.categories["site"].tolist() == ["north", None, "süd"]


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        (
            ["presure"],
            "takes 'presure' as a number, and in record PumpReading that field is not there .did you mean",
        ),
        (["site"], "'site' as a number, and in record PumpReading that field is a text"),
        ([("flow", "string")], "'flow' as a text, and in record PumpReading that field is a number"),
    ],
)
def test_a_model_whose_inputs_are_not_in_the_record_is_refused(tmp_path: Path, inputs: list[Any], fault: str) -> None:
    with pytest.raises(PackageError, match=fault):
        InMemory(plain_pipeline(tmp_path), model(Task.BINARY, *inputs))


ALARMS = "  alarms: {topic: pump.alarms}\n  alarm_state: {topic: pump.alarm-state}"
POLICY = "alarm: {setpoint: 0.9, deadband: 0.1, on_delay_ms: 0, off_delay_ms: 0, priorities: {HIGH: 0.9}}"


def test_the_pipeline_holds_the_alarm_policy_of_a_model_that_brings_none(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, identity=KEYED, outputs=ALARMS, more=POLICY)
    high = {"pump": "a", "at": START_MS, "pressure": 5.0}

    found = InMemory(pipeline, model(Task.BINARY, "pressure")).process([high, high | {"pressure": -5.0}])

    assert [(a["pump"], a["state"], a["contributions"]) for a in found.alarms] == [
        ("a", "ACTIVE", []),
        ("a", "RTN", []),
    ]
    assert all(np.isnan(alarm["bias"]) for alarm in found.alarms)


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.MULTICLASS])
def test_a_model_that_gives_no_probability_of_one_class_raises_no_alarms(tmp_path: Path, task: Task) -> None:
    pipeline = plain_pipeline(tmp_path, identity=KEYED, outputs=ALARMS, more=POLICY)

    with pytest.raises(PackageError, match=f"sum 1 is for {task}, and pipeline pump raises alarms"):
        InMemory(pipeline, model(task, "pressure", classes=("a", "b")))


def test_a_model_for_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="sum 1 is for regression, and pipeline pump for multiclass"):
        InMemory(plain_pipeline(tmp_path, "multiclass"), model(Task.REGRESSION, "pressure"))


FEATURES = """
features:
  - pressure
  - {name: filled, field: flow, fill: true}
  - {name: change, kind: difference, field: flow}
  - {name: rate, kind: difference, field: pressure, per: second}
  - {name: level, kind: mean, field: pressure, last: 5}
  - {name: spread, kind: std, field: pressure, last: 3}
  - {name: site, kind: category}
"""
NAMES = ["pressure", "filled", "change", "rate", "level", "spread"]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_declared_features_equal_pandas(tmp_path: Path, batch_size: int) -> None:
    pipeline = plain_pipeline(tmp_path, "regression", identity=KEYED, more=FEATURES)
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "pump": rng.choice(["a", "b", "c"], 200),
            "at": START_MS + np.cumsum(rng.integers(1, 60_000, 200)),
            "pressure": rng.normal(50, 5, 200),
            "flow": np.where(rng.random(200) < 0.3, np.nan, rng.uniform(0, 100, 200)),
        }
    )
    sent = frame.astype(object).where(frame.notna(), None).to_dict("records")

    found = InMemory(pipeline, model(Task.REGRESSION, ("site", "string"), *NAMES), batch_size).process(
        cast("list[dict[str, Any]]", sent)
    )

    of = frame.groupby("pump")
    expected = pd.DataFrame(
        {
            "pressure": frame["pressure"],
            "filled": of["flow"].ffill(),
            "change": of["flow"].transform(lambda x: x.ffill().diff()),
            "rate": of["pressure"].diff() / (of["at"].diff() / 1000),
            "level": of["pressure"].transform(lambda x: x.rolling(5, min_periods=1).mean()),
            "spread": of["pressure"].transform(lambda x: x.rolling(3, min_periods=2).std()),
        }
    )
    ours = np.concatenate([outcome.scored.features.numbers for outcome in found.outcomes])
    np.testing.assert_allclose(ours, expected[NAMES].to_numpy(), rtol=1e-9, atol=1e-12)


def test_where_windows_are_kept_a_repetition_is_dropped_and_another_text_is_no_repetition(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, "regression", identity=KEYED, more=FEATURES)
    reading = {"pump": "a", "at": START_MS, "pressure": 1.0, "site": "north"}

    found = InMemory(pipeline, model(Task.REGRESSION, ("site", "string"), *NAMES)).process(
        [reading, reading, reading | {"site": "south"}]
    )

    assert (len(found.predictions), found.duplicates) == (2, 1)


def test_keys_of_messages_are_needed_where_windows_are_kept(tmp_path: Path) -> None:
    pipeline = plain_pipeline(tmp_path, "regression", more=FEATURES)
    reading = rows({})[0]

    found = InMemory(pipeline, model(Task.REGRESSION, ("site", "string"), *NAMES)).process(
        [
            reading,
            Message(reading, key=b"\xff"),
            Message(reading, key="a"),
            Message(reading | {"pressure": 3.0}, key="a"),
        ]
    )

    assert [(letter.row, letter.reason) for letter in found.dead_letters] == [(0, "no_key"), (1, "no_key")]
    assert found.outcomes[0].scored.features.numbers[:, NAMES.index("level")].tolist() == [1.0, 2.0]


def test_the_flagship_alarms_in_memory_as_in_a_worker(package: ModelPackage) -> None:
    healthy = dict.fromkeys(PIPELINE.input.sensors()) | {"avg_surface_temp_c": 25.0, "voltage_v": 51.0}
    run = InMemory(PIPELINE.model_copy(update={"alarm": {"setpoint": 1e-9, "on_delay_ms": 0}}), package)

    found = run.process([healthy | {"module_id": "m", "rack_id": "r", "ts": START_MS + 10_000 * i} for i in range(3)])

    assert [p["module_id"] for p in found.predictions] == ["m"] * 3
    assert [a["state"] for a in found.alarms] == ["ACTIVE"]


def test_bytes_are_sent_as_they_are_and_a_wrong_row_is_the_callers_fault(
    tmp_path: Path,
) -> None:
    run = InMemory(plain_pipeline(tmp_path), model(Task.BINARY, "pressure"))

    assert [letter.reason for letter in run.process([Message(b"junk"), Message(None)]).dead_letters] == [
        "malformed",
        "null_value",
    ]
    with pytest.raises(UserError, match="has no field presure; there are pump"):
        run.process([{"presure": 1.0}])
    with pytest.raises(UserError, match="row 2 does not fit"):
        run.process([{"pressure": "high"}])
    for part in (1.7, True):
        with pytest.raises(UserError, match=f"starts: {part} is not a whole number, which the field is; round it"):
            run.process([{"pressure": 1.0, "starts": part}])
    assert run.process([{"pressure": 1.0, "starts": 2.0}]).dead_letters == []


def test_times_are_judged_as_a_worker_judges_them(tmp_path: Path) -> None:
    run = InMemory(plain_pipeline(tmp_path, identity=KEYED), model(Task.BINARY, "pressure"))
    reading = {"pump": "a", "pressure": 1.0}
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)

    found = run.process(
        [
            reading | {"at": noon},
            reading | {"at": 1000 * START_MS},  # microseconds
            Message(reading | {"at": START_MS + 3_600_000}, key="a", timestamp_ms=START_MS),
        ]
    )

    assert found.predictions[0]["at"] == noon.timestamp() * 1000
    assert [(letter.row, letter.reason) for letter in found.dead_letters] == [(1, "implausible_time"), (2, "future")]
    with pytest.raises(UserError, match="at: 2026-01-31 12:00:00 has no time zone; give it one"):
        run.process([reading | {"at": noon.replace(tzinfo=None)}])
