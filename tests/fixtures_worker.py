from pathlib import Path

import pytest

from tests.harness import Stage, make_stage
from tests.model_registry import Registry
from tests.topic_settings import set_topic


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    """Topics of this test's own on the real broker, and what is needed to run workers on them."""
    return make_stage(kafka, topic_prefix, tmp_path, model_package)


@pytest.fixture
def small_dead_letters(stage: Stage) -> None:
    """The stage's dead-letter topic takes records of 20 kB and no more."""
    set_topic(stage, "dead_letters", max_message_bytes=20_000)


@pytest.fixture
def models(unique_name: str, mlflow_url: str, model_package: Path) -> Registry:
    """Version 1 is the model package, and the champion."""
    registry = Registry(unique_name, mlflow_url)
    registry.point(registry.add(model_package))
    return registry
