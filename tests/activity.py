"""A small pipeline with aggregates over event time: users' events in, a score from their activity out."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.xgboost
import numpy as np
import pandas as pd
import xgboost

from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.harness import Stage
from tests.plain_models import saved
from worker.admission.admit import note, passed_note
from worker.config.pipeline import Pipeline, load_pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics
from worker.model.contract import Features, Model, ModelInput, Prediction
from worker.model.formats import read_model

EVENT: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "namespace": "test",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "kind", "type": "string"},
        {"name": "minutes", "type": ["null", "double"], "default": None, "minimum": 0},
    ],
}
FEATURES = """
  - {name: events_1h, kind: count, over: 1h}
  - {name: logins_7d, kind: count, where: {kind: login}, over: 7d}
  - {name: minutes_30d, kind: sum, field: minutes, over: 30d}
  - {name: minutes_7d, kind: mean, field: minutes, where: {kind: watch}, over: 7d}
  - {name: longest_7d, kind: max, field: minutes, over: 7d}
  - {name: days_30d, kind: distinct_days, over: 30d}
  - {name: since_login, kind: time_since_last, where: {kind: login}, over: 30d}
"""
_FILE = """
name: {name}
input: {{topic: {name}.events, schema: Event, key: user, time: at}}
outputs:
  predictions: {{topic: {name}.predictions}}
  dead_letters: {{topic: {name}.dead-letters}}
  window_state: {{topic: {name}.window-state}}
task: {task}
model: models:/activity@champion
{more}
features:{features}
"""
PREFIX, SCHEMA = single_object_prefix(EVENT), parsed(EVENT)
START_MS = 1_650_000_000_000  # long ago: no event is in the future of its record


class Weighted(Model):
    """A weighted sum of all inputs, missing ones left out: it shows a difference in any of them, to the last bit."""

    def predict(self, features: Features) -> Prediction:
        return Prediction(np.nan_to_num(features.numbers * np.sqrt(np.arange(2.0, 2 + len(self.inputs)))).sum(axis=1))


def activity_model(pipeline: Pipeline) -> Weighted:
    inputs = tuple(ModelInput(f.name, "double", required=False) for f in pipeline.features or ())
    return Weighted(name="w", version="1", digest="d", origin="test", task=pipeline.expected_task, inputs=inputs)


def activity_pipeline(
    folder: Path, name: str = "activity", features: str = FEATURES, *, task: str = "regression", more: str = ""
) -> Pipeline:
    """Write the pipeline's folder, and read it; `more` is lines of its file."""
    folder.mkdir(exist_ok=True)
    (folder / "Event.avsc").write_text(json.dumps(EVENT))
    (folder / "pipeline.yaml").write_text(_FILE.format(name=name, features=features, task=task, more=more))
    return load_pipeline(str(folder))


def activity_stage(bootstrap: str, name: str, directory: Path, partitions: int = 2) -> Stage:
    """The pipeline with topics of its own on a real broker."""
    pipeline, model = activity_pipeline(directory / name, name), directory / "model"
    create_topics(admin_client(client_config(bootstrap)), pipeline, partitions=partitions, replication_factor=1)
    rows = pd.DataFrame(np.random.default_rng(0).random((50, 7)), columns=[f.name for f in pipeline.features or ()])
    regressor = xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(rows, rows.sum(axis=1))
    saved(mlflow.xgboost, regressor, model, rows, regressor.predict(rows))
    files = read_model(model, "model")
    note(passed_note(directory / "cache", files, f"sha256:{files.digest[:12]}", pipeline, trusted=False))
    return Stage(bootstrap, directory / name / "pipeline.yaml", directory, model, partitions)


def event(user: str, at: int, kind: str = "watch", minutes: float | None = 1.0) -> tuple[str, bytes]:
    """Key and value of a message."""
    return user, encode({"user": user, "at": at, "kind": kind, "minutes": minutes}, SCHEMA, PREFIX)


def events(count: int, users: int = 12, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Months of events, some of them late, some far too late; users leave for weeks, one has a name in UTF-8."""
    choice, at = random.Random(seed), START_MS
    for _ in range(count):
        at += choice.choice([MINUTE_MS, HOUR_MS, 5 * HOUR_MS, 11 * HOUR_MS])
        late = choice.choice([0] * 20 + [MINUTE_MS, 3 * HOUR_MS, DAY_MS, 10 * DAY_MS, 40 * DAY_MS])
        active = (at // (20 * DAY_MS)) % 3
        number = choice.choice([n for n in range(users) if n % 3 != active] if choice.random() < 0.98 else [0, 1, 2])
        kind, minutes = choice.choice(["login", "watch", "quiz"]), choice.choice([None, 0.1, 7.3, choice.random()])
        yield event("Jürgen" if number == 0 else f"user-{number}", at - late, kind, minutes)
