"""Which column becomes which input of a model."""

from pathlib import Path

import pytest

from tests.plain_pipelines import PUMP, model, plain_pipeline
from worker.config.pipeline import load_pipeline
from worker.in_memory import InMemory
from worker.model.contract import Task

IDENTITY = "  key: pump\n  time: at"


def features(text: str) -> str:
    return f"features:\n  - {text}"


def test_a_field_with_the_name_of_another_feature_does_not_shift_the_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"name": "pressure_mean_2", "type": ["null", "double"], "default": None}
    monkeypatch.setitem(PUMP, "fields", [*PUMP["fields"][:2], extra, *PUMP["fields"][2:]])
    text = features("{name: usual, kind: mean, field: pressure, last: 2}\n  - flow")
    pipeline = plain_pipeline(tmp_path / "p", "regression", identity=IDENTITY, more=text)
    run = InMemory(load_pipeline(str(pipeline.folder)), model(Task.REGRESSION, "usual", "flow"))
    rows = [{"pump": "p", "at": 1_767_225_600_000 + i, "pressure": 2.0 + i, "flow": 10.0} for i in range(3)]
    found = run.process({**row, "pressure_mean_2": 1000.0} for row in rows)
    assert [each["value"] for each in found.predictions] == [12.0, 12.5, 13.5]


def test_a_difference_needs_no_window_of_readings(tmp_path: Path) -> None:
    text = features("{name: change, kind: difference, field: pressure}")
    pipeline = plain_pipeline(tmp_path / "p", "regression", identity=IDENTITY, more=text)
    run = InMemory(pipeline, model(Task.REGRESSION, "change"))
    rows = [{"pump": "p", "at": 1_767_225_600_000 + i, "pressure": float(i * i)} for i in range(3)]
    assert [each["value"] for each in run.process(rows).predictions] == [0.0, 1.0, 3.0]
