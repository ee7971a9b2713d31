"""A sink that is killed at random moments stores each record once."""

import pytest

from tests.sink_kills import kill_while_records_flow
from tests.sink_scene import Scene

pytestmark = pytest.mark.kafka


def test_nothing_is_missing_or_doubled_after_kills(scene: Scene, destination: str) -> None:
    found = kill_while_records_flow(scene, destination, kills=2)

    assert found.pop("records") > 100
    assert not any(found.values()), found
