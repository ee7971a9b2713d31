"""Plain models on a pipeline with aggregates: swapped while the worker runs, refused, or in the champion's shadow."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import mlflow
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import infer_signature

from local.audit import read
from tests.activity import activity_model, activity_pipeline, events
from tests.harness import Stage, Worker, wait_until
from tests.model_registry import await_version, shown
from tests.plain_models import NO_REQUIREMENTS
from worker.consume.message_columns import batch_of
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics
from worker.model.mlflow_client import mlflow_client
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PART = 300
MONITOR = (
    "monitor: {{sketches: {{topic: {0}.sketches}}, events: {{topic: {0}.drift}}, labels: {{topic: {0}.labels}}, "
    "shadow: {{topic: {0}.shadow}}}}"
)


def register(name: str, inputs: Sequence[str], seed: int) -> tuple[str, xgboost.XGBClassifier]:
    """A new version that takes these inputs, in this order."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.exponential(20.0, (200, len(inputs))), columns=list(inputs))
    model = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(rows, (rows.sum(axis=1) > 130 + seed).astype(int))
    with mlflow.start_run():
        info = mlflow.xgboost.log_model(
            model,
            name="estimator",
            signature=infer_signature(rows, model.predict_proba(rows)),
            registered_model_name=name,
            **NO_REQUIREMENTS,
        )
    return str(info.registered_model_version), model


@pytest.fixture
def binary(kafka: str, unique_name: str, mlflow_url: str, tmp_path: Path) -> Stage:
    """The pipeline of `tests.activity` for a binary model, with one partition, watched aliases and a shadow."""
    mlflow.set_tracking_uri(mlflow_url)
    folder = tmp_path / unique_name
    pipeline = activity_pipeline(folder, unique_name, task="binary", more=MONITOR.format(unique_name))
    create_topics(admin_client(client_config(kafka)), pipeline, partitions=1, replication_factor=1)
    settings = {"model": f"models:/{unique_name}@champion", "tracking_uri": mlflow_url, "model_watch_ms": "100"}
    settings |= {"challenger": f"models:/{unique_name}@challenger", "challenger_max_ms": "5000"}
    return Stage(kafka, folder / "pipeline.yaml", tmp_path, tmp_path / "none", partitions=1, settings=settings)


def point(stage: Stage, alias: str, version: str) -> None:
    with mlflow_client(stage.settings["tracking_uri"]) as client:
        client.set_registered_model_alias(stage.pipeline.name, alias, version)


def publish(stage: Stage, worker: Worker, part: int) -> None:
    stage.publish(islice(events(3 * PART), part * PART, (part + 1) * PART))
    worker.await_scored((part + 1) * PART)


def uninterrupted_features(stage: Stage) -> pd.DataFrame:
    """What one scorer that sees the whole input computes, by offset."""
    model = activity_model(stage.pipeline)
    scorer = scorer_of(stage.pipeline, model, None, stage.writer_schema_of)
    batch = batch_of(list(read(stage.pipeline.input.topic, stage.bootstrap)))
    scored = scorer.process(batch, {0: Partition(0, 0, 0)}).scored
    return pd.DataFrame(scored.features.by_name(model.numeric), scored.origin.offset)


def probability(model: xgboost.XGBClassifier, rows: pd.DataFrame) -> list[float]:
    return model.predict_proba(rows[list(model.feature_names_in_)])[:, 1].astype(np.float64).tolist()  # type: ignore[no-any-return]


def test_plain_models_come_and_go_and_aggregates_stay(binary: Stage) -> None:
    stage, name = binary, binary.pipeline.name
    inputs = [feature.name for feature in stage.pipeline.features or ()]
    first, champion = register(name, inputs, 1)
    second, challenger = register(name, inputs, 2)
    unfit, _ = register(name, [*inputs[1:], "events_90d"], 3)
    third, successor = register(name, inputs[::-1], 4)
    point(stage, "champion", first)
    with stage.worker() as worker:
        worker.await_ready()
        publish(stage, worker, 0)
        point(stage, "challenger", second)
        wait_until(lambda: (shown(worker)["challenger"] or {}).get("version") == second, "a challenger")
        publish(stage, worker, 1)
        assert worker.metric("hazardstream_shadow_scored_total") == PART

        point(stage, "champion", unfit)
        refused = wait_until(lambda: shown(worker)["watch"]["refused"], "a refusal")
        assert "takes 'events_90d'" in refused["reason"]
        assert shown(worker)["version"] == first

        point(stage, "champion", third)
        await_version(worker, third)
        publish(stage, worker, 2)
        assert "other features" in shown(worker)["challenger"]["idle"]
        assert worker.stop() == 0

    rows, predictions, shadow = uninterrupted_features(stage), stage.records("predictions"), stage.records("shadow")
    assert [p["source_offset"] for p in predictions] == list(range(3 * PART))
    assert [p["model_version"] for p in predictions] == [first] * 2 * PART + [third] * PART
    expected = [*probability(champion, rows[: 2 * PART]), *probability(successor, rows[2 * PART :])]
    assert [p["probability"] for p in predictions] == expected
    assert [s["challenger_probability"] for s in shadow] == probability(challenger, rows[PART : 2 * PART])
    assert [s["champion_probability"] for s in shadow] == expected[PART : 2 * PART]
