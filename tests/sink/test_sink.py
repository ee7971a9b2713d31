"""The sink stores what the topics hold, in each destination, once, with real Kafka."""

from pathlib import Path

import pytest

from tests.harness import make_stage
from tests.sink_scene import Scene

pytestmark = pytest.mark.kafka


@pytest.fixture
def scene(kafka: str, topic_prefix: str, tmp_path: Path) -> Scene:
    return Scene(make_stage(kafka, topic_prefix, tmp_path, Path()))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql), "parquet"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"parquet:{tmp_path}/parquet" if request.param == "parquet" else f"sqlite:///{tmp_path}/sink.sqlite"


def assert_equal_to_topics(scene: Scene, destination: str, records: int) -> None:
    found = scene.compare(destination)
    assert found.pop("records") >= records
    assert not any(found.values()), found


def test_rows_equal_the_topics_and_a_second_run_adds_only_what_is_new(scene: Scene, destination: str) -> None:
    for _ in range(3):
        scene.publish(100)

    scene.store_all(destination)
    assert_equal_to_topics(scene, destination, 300)
    scene.store_all(destination)
    assert_equal_to_topics(scene, destination, 300)

    scene.publish(50)
    scene.store_all(destination)
    assert_equal_to_topics(scene, destination, 350)
