from pathlib import Path

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from harness import Stage, make_stage
from model_registry import Registry

from worker.kafka_config import admin_client, client_config


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    """Topics of this test's own on the real broker, and what is needed to run workers on them."""
    return make_stage(kafka, topic_prefix, tmp_path, model_package)


@pytest.fixture
def small_dead_letters(stage: Stage) -> None:
    """The stage's dead-letter topic takes records of 20 kB and no more."""
    entry = ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)
    topic = stage.pipeline.topics["dead_letters"]
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = admin_client(client_config(stage.bootstrap))
    admin.incremental_alter_configs([change])[change].result()


@pytest.fixture
def models(unique_name: str, mlflow_url: str, model_package: Path) -> Registry:
    """Version 1 is the model package, and the champion."""
    registry = Registry(unique_name, mlflow_url)
    registry.point(registry.add(model_package))
    return registry
