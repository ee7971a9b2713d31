"""Whether a plain model suits the records of a pipeline: inputs, task, speed, texts, and the trust in its file."""

import json
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from common.errors import UserError
from tests.plain_models import NUMBERS, leaks, loaded, mixed_pipeline, pump_rows, saved, wear
from worker.admission.admit import Demands, demands_of
from worker.admission.compatibility import require_compatible
from worker.admission.dry_run import dry_run
from worker.admission.source import resolve
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import load_settings
from worker.config.trust import Trust
from worker.model.contract import Task
from worker.model.package import PackageError

pytestmark = pytest.mark.slow  # logs models with MLflow
ROWS = pump_rows()
TABLE = ROWS[NUMBERS]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def regression() -> Any:
    return make_pipeline(StandardScaler(), SVR()).fit(TABLE, wear(TABLE))


PUMP = """
name: pumps
input: {topic: pumps, schema: Pump}
outputs: {predictions: {topic: wear}, dead_letters: {topic: broken}}
model: bundled
"""
FIELDS = {"pressure": "double", "flow": ["null", "double"], "starts": ["null", "long"], "primed": "boolean"}


def pump_pipeline(folder: Path, fields: dict[str, Any] = FIELDS, **more: str) -> Pipeline:
    """A pipeline without keys, groups, times, alarms and windows."""
    record = {"type": "record", "name": "Pump", "fields": [{"name": n, "type": t} for n, t in fields.items()]}
    folder.mkdir(exist_ok=True)
    (folder / "Pump.avsc").write_text(json.dumps(record))
    (folder / "pipeline.yaml").write_text(PUMP + "".join(f"{name}: {value}\n" for name, value in more.items()))
    return load_pipeline(str(folder))


def test_a_bundled_model_passes_the_whole_check_of_a_pipeline_without_alarms(tmp_path: Path, cache: Path) -> None:
    directory = tmp_path / "pumps"
    pipeline = pump_pipeline(directory, task="regression")
    saved(mlflow.sklearn, regression(), directory / "model", TABLE, [1.5])
    model = resolve("bundled", cache_directory=cache, demands=Demands(pipeline, max_ms=5000))
    assert (model.name, model.task) == ("pumps", Task.REGRESSION)


@pytest.mark.parametrize("site", ["string", {"type": "enum", "name": "Site", "symbols": ["north", "south", "west"]}])
def test_texts_integers_and_booleans_of_a_record_reach_the_model(tmp_path: Path, site: Any) -> None:
    pipeline = pump_pipeline(tmp_path / "pumps", FIELDS | {"site": site}, task="binary")
    classifier = mixed_pipeline(LogisticRegression()).fit(ROWS, leaks(ROWS))
    directory = saved(
        mlflow.sklearn, classifier, tmp_path / "m", ROWS, [1], input_example=ROWS, serialization_format="cloudpickle"
    )
    dry_run(loaded(directory, trusted=True), pipeline)


def test_a_record_with_other_texts_than_the_models_is_refused(tmp_path: Path) -> None:
    site = {"type": "enum", "name": "Site", "symbols": ["mars", "venus"]}
    pipeline = pump_pipeline(tmp_path / "pumps", FIELDS | {"site": site}, task="binary")
    classifier = mixed_pipeline(LogisticRegression()).fit(ROWS, leaks(ROWS))
    directory = saved(
        mlflow.sklearn, classifier, tmp_path / "m", ROWS, [1], input_example=ROWS, serialization_format="cloudpickle"
    )
    with pytest.raises(PackageError, match="scores none of the generated records"):
        dry_run(loaded(directory, trusted=True), pipeline)


@pytest.mark.parametrize(
    ("fields", "more", "text"),
    [
        (
            FIELDS,
            {"task": "binary"},
            "is a regression model, and pipeline pumps expects binary; write `task: regression`",
        ),
        (
            {"pressure": "double", "flov": "double"},
            {"task": "regression"},
            r"takes 'flow' as a number, .* not there \(did you mean 'flov'",
        ),
        ({"pressure": "double", "flow": "string"}, {"task": "regression"}, "in record Pump that field is a text"),
    ],
)
def test_a_model_that_does_not_suit_the_pipeline_is_refused(
    tmp_path: Path, fields: dict[str, Any], more: dict[str, str], text: str
) -> None:
    pipeline = pump_pipeline(tmp_path / "pumps", fields, **more)
    model = loaded(saved(mlflow.sklearn, regression(), tmp_path / "m", TABLE, [1.5]))
    with pytest.raises(PackageError, match=text):
        require_compatible(model, pipeline, max_ms=5000)


def test_a_model_that_is_too_slow_is_refused(tmp_path: Path) -> None:
    pipeline = pump_pipeline(tmp_path / "pumps", task="regression")
    rows = pump_rows(2000)[NUMBERS]
    slow = make_pipeline(StandardScaler(), SVR(C=1000)).fit(rows, np.random.default_rng(0).normal(size=2000))
    model = loaded(saved(mlflow.sklearn, slow, tmp_path / "m", TABLE, [1.5]))
    with pytest.raises(
        PackageError, match="ms to score 1000 readings; HAZARDSTREAM_MODEL_MAX_MS allows 1 ms"
    ) as caught:
        require_compatible(model, pipeline, max_ms=1)
    assert caught.value.fault == "too_slow"


def test_the_pipeline_file_trusts_models_by_digest(tmp_path: Path, cache: Path) -> None:
    settings = load_settings(cache_directory=str(cache))
    for trust, expected in (
        ("registry", Trust(registry=True)),
        (f"[sha256:{'a' * 64}]", Trust(digests=frozenset({"a" * 64}))),
    ):
        pipeline = pump_pipeline(tmp_path / "pumps", task="regression", trust=trust)
        assert demands_of(settings, pipeline).trust == expected
    with pytest.raises(UserError, match=r"trust: .* is neither 'registry' nor sha256: and 64 digits"):
        pump_pipeline(tmp_path / "pumps", task="regression", trust="everybody")
