"""A plain model on a topic without key and time, on real Kafka: each record is scored exactly once."""

from collections import Counter
from pathlib import Path

import mlflow.xgboost
import numpy as np
import pytest
import xgboost

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.harness import STOPS_ITSELF, Stage, wait_until
from tests.plain_models import pump_rows, saved, wear
from tests.plain_pipelines import plain_pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

RECORDS, JUNK_EVERY = 4000, 500


@pytest.fixture
def plain_stage(kafka: str, unique_name: str, tmp_path: Path) -> Stage:
    """A pump's topics, and an XGBoost regression as MLflow saves it."""
    rows = pump_rows()[["pressure", "flow"]]
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(rows, wear(rows))
    saved(mlflow.xgboost, model, tmp_path / "model", rows, model.predict(rows))
    pipeline = plain_pipeline(tmp_path / "pump", "regression", name=unique_name, outputs="  echo: [site, starts]")
    create_topics(admin_client(client_config(kafka)), pipeline, partitions=2, replication_factor=1)
    return Stage(kafka, pipeline.folder / "pipeline.yaml", tmp_path, tmp_path / "model")


def test_a_worker_that_is_killed_scores_each_record_of_a_plain_topic_once(plain_stage: Stage) -> None:
    stage, schema = plain_stage, plain_stage.pipeline.input.avro_schema
    rng, prefix = np.random.default_rng(1), single_object_prefix(schema)
    records = [
        {"pump": None, "at": None, "pressure": p, "flow": f if f > 5 else None, "starts": i, "site": "north"}
        for i, (p, f) in enumerate(zip(rng.normal(5, 2, RECORDS), rng.uniform(0, 50, RECORDS), strict=True))
    ]
    values = [encode(record, parsed(schema), prefix) for record in records]
    values[::JUNK_EVERY] = [b"junk"] * (RECORDS // JUNK_EVERY)
    stage.publish((None if i % 2 else b"\xff\x00", value) for i, value in enumerate(values))

    with stage.worker(STOPS_ITSELF, batch_max_messages="100") as first:
        first.await_stopped()
        first.kill()
    with stage.worker() as second:
        wait_until(lambda: stage.outcomes() >= RECORDS, "all records have an outcome", 120)
        second.await_ready()
        assert second.answer("/keys/any").status_code == 404
        assert second.metric("hazardstream_restored_readings_total") == 0
        assert second.stop() == 0

    predictions = stage.records("predictions")
    assert len(list(stage.dead_letters())) == RECORDS // JUNK_EVERY
    assert sorted(p["starts"] for p in predictions) == [i for i in range(RECORDS) if i % JUNK_EVERY]
    assert set(Counter((p["source_partition"], p["source_offset"]) for p in predictions).values()) == {1}
    booster = xgboost.XGBRegressor()
    booster.load_model(next((stage.directory / "model").glob("model.*")))
    inputs = np.array([[records[p["starts"]][name] for name in ("pressure", "flow")] for p in predictions], np.float64)
    np.testing.assert_array_equal([p["value"] for p in predictions], booster.predict(inputs).astype(np.float64))
