"""A sink that is killed at random moments stores each record once."""

from pathlib import Path

import pytest

from tests.harness import make_stage
from tests.sink_kills import kill_while_records_flow
from tests.sink_scene import Scene

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql), "parquet"])
def test_nothing_is_missing_or_doubled_after_kills(
    kind: str, kafka: str, topic_prefix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = {"sqlite": f"sqlite:///{tmp_path}/sink.sqlite", "parquet": f"parquet:{tmp_path}/parquet"}
    to = places.get(kind) or request.getfixturevalue("postgresql_url")
    scene = Scene(make_stage(kafka, topic_prefix, tmp_path, Path()))

    found = kill_while_records_flow(scene, to, kills=2)

    assert found.pop("records") > 100
    assert not any(found.values()), found
