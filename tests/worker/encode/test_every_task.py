"""Predictions of every task, of records of every type, without key, group or time: decoded, scored and encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from tests.generic_pipeline import VISIT, write_generic
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.task import Task
from worker.consume.message_columns import batch_of
from worker.encode.encoder import Encoder
from worker.model.contract import Features, Model, ModelInput, Prediction
from worker.score.outcome import Outcome
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

STAMP_MS = 1_790_000_000_000
TEXT = """\
name: shop
input: {topic: shop.visits, schema: Visit}
task: %s
model: m
outputs:
  predictions: {topic: shop.predictions}
  dead_letters: {topic: shop.dlq}
  echo: [user, kind, spent, pages, member, country]
"""
ROW = {"user": "u", "at": 5, "kind": "order", "spent": 2.5, "pages": 3, "member": True, "country": "DE", "tags": []}
ROWS: list[dict[str, Any]] = [
    ROW,
    ROW | {"pages": None, "country": None},
    ROW | {"spent": -1.0, "member": False, "country": "Germany"},
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pages(Model):
    """Predicts from the number of pages, which it takes for 0 where it is missing."""

    def predict(self, features: Features) -> Prediction:
        value = np.nan_to_num(features.numbers[:, self.numeric.index("pages")]) / 10
        if self.task is not Task.MULTICLASS:
            return Prediction(value)
        probabilities = np.stack([value, 1 - value], axis=1)
        return Prediction(probabilities.max(axis=1), probabilities.argmax(axis=1), probabilities)


def model(task: Task) -> Model:
    classes = () if task is Task.REGRESSION else ("few", "many")
    inputs = (ModelInput("pages", "long", required=False),)
    return Pages(name="m", version="1", digest="", origin="", task=task, inputs=inputs, classes=classes, error_band=0.5)


def scored(pipeline: Pipeline, task: Task, rows: list[dict[str, Any]]) -> tuple[Outcome, list[dict[str, Any]]]:
    prefix, schema = single_object_prefix(VISIT), parsed(VISIT)
    stamp = (1, STAMP_MS)
    messages = [
        Message(topic="t", partition=0, offset=at, key=None, value=encode(row, schema, prefix), timestamp=stamp)
        for at, row in enumerate(rows)
    ]
    lookup = writer_schema_lookup(None, pipeline.known_schemas)
    scorer = scorer_of(pipeline, model(task), None, lookup)
    scorer.alarms.assign(0, {})
    outcome = scorer.process(batch_of(messages), {0: Partition(0, 0, 0)})
    bulk = Encoder(pipeline, {}, 1 << 20).records(outcome, "id").bulk
    reader = pipeline.records["predictions"].schema
    return outcome, [decode(record["value"], lookup, reader) for some in bulk.values() for record in some]


@pytest.mark.parametrize(
    ("task", "first"),
    [
        (Task.BINARY, {"probability": 0.3, "positive": False, "threshold": 0.5}),
        (Task.MULTICLASS, {"predicted_class": "many", "probability": 0.7, "probabilities": {"few": 0.3, "many": 0.7}}),
        (Task.REGRESSION, {"value": 0.3, "error_band": 0.5}),
    ],
)
def test_predictions_carry_the_task_and_the_fields_that_are_copied(
    tmp_path: Path, task: Task, first: dict[str, Any]
) -> None:
    pipeline = load_pipeline(str(write_generic(tmp_path, TEXT % task)))
    outcome, predictions = scored(pipeline, task, ROWS)
    assert not outcome.rejections
    copied = [{name: prediction[name] for name in pipeline.outputs.echo} for prediction in predictions]
    expected = [{name: row[name] for name in pipeline.outputs.echo} for row in ROWS]
    assert copied == [*expected[:2], expected[2] | {"spent": None, "country": None}], "a masked value is null"
    assert [prediction["masked"] for prediction in predictions] == [[], [], ["spent", "country"]]
    assert {name: predictions[0][name] for name in first} == first
    assert [p["source_offset"] for p in predictions] == [0, 1, 2]


def test_values_are_null_or_the_time_of_the_message(tmp_path: Path) -> None:
    pipeline = load_pipeline(str(write_generic(tmp_path, TEXT % "regression")))
    outcome, _ = scored(pipeline, Task.REGRESSION, ROWS)
    readings = outcome.scored.readings
    assert readings.ts.tolist() == [STAMP_MS] * 3
    assert readings.categories["country"].objects().tolist() == ["DE", None, None]
    assert np.isnan(readings.values[1, pipeline.input.sensors().index("pages")])
