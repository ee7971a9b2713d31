"""Output topics, and the destinations of the sink."""

from pathlib import Path

import pytest

from tests.harness import make_stage
from tests.sink_scene import Scene

_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgresql)


@pytest.fixture
def scene(kafka: str, topic_prefix: str, tmp_path: Path) -> Scene:
    """Topics of this test's own."""
    return Scene(make_stage(kafka, topic_prefix, tmp_path, Path()))


@pytest.fixture(params=["sqlite", _POSTGRESQL])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database, once of each kind."""
    return _place(request, tmp_path)


@pytest.fixture(params=["sqlite", _POSTGRESQL, "parquet"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty destination, once of each kind."""
    return _place(request, tmp_path)


def _place(request: pytest.FixtureRequest, directory: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"parquet:{directory}/parquet" if request.param == "parquet" else f"sqlite:///{directory}/sink.sqlite"
