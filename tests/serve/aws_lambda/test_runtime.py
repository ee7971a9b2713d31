"""The function behind AWS's own runtime client, on real Kafka."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.xgboost
import numpy as np
import pytest
import xgboost
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.harness import Stage
from tests.plain_models import pump_rows, saved, wear
from tests.plain_pipelines import plain_pipeline
from tests.serve.aws_lambda.events import msk, record, self_managed
from tests.serve.aws_lambda.runtime_api import Lambda, lambda_function
from worker.encode.dead_letter import ERRORS
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
def stage(kafka: str, unique_name: str, tmp_path: Path) -> Stage:
    """A pump's topics, and an XGBoost regression as MLflow saves it. Predictions may have at most 2,000 bytes."""
    rows = pump_rows()[["pressure", "flow"]]
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(rows, wear(rows))
    saved(mlflow.xgboost, model, tmp_path / "model", rows, model.predict(rows))
    pipeline = plain_pipeline(
        tmp_path / "pump",
        "regression",
        name=unique_name,
        outputs="  echo: [site]",
        model=str(tmp_path / "model"),
    )
    admin = admin_client(client_config(kafka))
    create_topics(admin, pipeline, partitions=2, replication_factor=1)
    largest = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, pipeline.topics["predictions"], incremental_configs=[largest])
    admin.incremental_alter_configs([topic])[topic].result()
    return Stage(kafka, pipeline.folder / "pipeline.yaml", tmp_path, tmp_path / "model")


def environment(stage: Stage, **more: str) -> dict[str, str]:
    """Settings as the documentation gives them to a function."""
    return {
        "HAZARDSTREAM_PIPELINE": str(stage.pipeline_file),
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap,
        "HAZARDSTREAM_CACHE_DIRECTORY": str(stage.directory / "cache"),
        **more,
    }


@pytest.fixture
def function(stage: Stage) -> Iterator[Lambda]:
    with lambda_function(stage.directory, environment(stage)) as started:
        yield started


def value(stage: Stage, pressure: float, site: str = "north") -> bytes:
    schema = stage.pipeline.input.avro_schema
    reading: dict[str, Any] = {"pump": None, "at": None, "pressure": pressure, "flow": 5.0, "starts": 1, "site": site}
    return encode(reading, parsed(schema), single_object_prefix(schema))


def test_events_become_predictions_and_failures_are_named_by_partition(stage: Stage, function: Lambda) -> None:
    topic = stage.pipeline.input.topic
    pressures = [3.0, 5.5, 8.0]
    first = msk(*(record(topic, 0, 10 + i, value(stage, p)) for i, p in enumerate(pressures)))
    assert function.invoke(first) == ("response", {"batchItemFailures": []})

    junk, tombstone = record(topic, 0, 13, b"junk"), record(topic, 0, 14, None)
    too_large = record(topic, 1, 7, value(stage, 1.0, random.Random(7).randbytes(2_500).hex()))
    second = self_managed(junk, record(topic, 0, 15, value(stage, 1.0)), tombstone, too_large)
    failed = {"itemIdentifier": {"partition": f"{topic}-1", "offset": 7}}
    assert function.invoke(second) == ("response", {"batchItemFailures": [failed]})

    kind, error = function.invoke({"Records": [{"eventSource": "aws:s3"}]})
    assert (kind, error["errorType"]) == ("error", "UserError")
    assert "no event of a Kafka event source mapping" in error["errorMessage"]

    predictions = sorted(stage.records("predictions"), key=lambda p: p["source_offset"])
    assert [(p["source_partition"], p["source_offset"]) for p in predictions] == [(0, 10), (0, 11), (0, 12), (0, 15)]
    booster = xgboost.XGBRegressor()
    booster.load_model(next((stage.directory / "model").glob("model.*")))
    inputs = np.array([[p, 5.0] for p in [*pressures, 1.0]])
    np.testing.assert_array_equal([p["value"] for p in predictions], booster.predict(inputs).astype(np.float64))
    assert sorted(int(dict(m.headers())[ERRORS + "offset"]) for m in stage.dead_letters()) == [13, 14]


def test_a_function_that_cannot_start_says_why(stage: Stage) -> None:
    with lambda_function(stage.directory, environment(stage, HAZARDSTREAM_PIPELINE="nowhere")) as function:
        kind, error = function.invoke(msk(record("pumps", 0, 1, b"")))

    assert (kind, error["errorType"]) == ("error", "UserError")
    assert "nowhere" in error["errorMessage"]
