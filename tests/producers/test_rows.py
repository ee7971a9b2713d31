"""Records of any schema, published to real Kafka, and read back as rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from local.audit import read_all
from local.isolated_pipeline import isolated_pipeline
from producers.rows import publish_rows
from training.monitoring.rows.recent import recent_rows
from training.run.replay import records_of
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import load_settings
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics


@pytest.fixture
def pipeline(kafka: str, unique_name: str, tmp_path: Path) -> Pipeline:
    """Districts: numbers that may be missing, a category, and no key."""
    loaded = load_pipeline(str(isolated_pipeline(unique_name, tmp_path, of="housing")))
    create_topics(admin_client(client_config(kafka)), loaded, partitions=2, replication_factor=1)
    return loaded


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "longitude": [-120.0, -121.5, np.nan],
            "latitude": [35.0, np.nan, 36.25],
            "ocean_proximity": ["INLAND", None, "NEAR BAY"],
        }
    )


def test_rows_are_stored_where_the_addresses_say_and_can_be_read_back(kafka: str, pipeline: Pipeline) -> None:
    records = records_of(rows(), pipeline)
    assert records[1] == {"longitude": -121.5, "latitude": None, "ocean_proximity": None}

    addresses = publish_rows(pipeline, zip([None, "a", "b"], records, strict=True), bootstrap=kafka)

    stored = {(m.partition(), m.offset()): m.key() for m in read_all(pipeline.input.topic, kafka)}
    assert [stored[address] for address in addresses] == [None, b"a", b"b"]
    settings = load_settings(pipeline=str(pipeline.folder), bootstrap_servers=kafka)
    found = recent_rows(settings, pipeline, 100)
    assert sorted(found["longitude"].dropna()) == [-121.5, -120.0]
    assert sorted(found["ocean_proximity"].dropna()) == ["INLAND", "NEAR BAY"]
    assert set(found.columns) == set(pipeline.input.record.rules)


def test_a_record_that_does_not_fit_is_named(kafka: str, pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match="row 1 does not fit District"):
        publish_rows(pipeline, [(None, {}), (None, {"longitude": "west"})], bootstrap=kafka)
