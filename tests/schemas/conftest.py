"""A server to set answers of. Hypothesis without a stopwatch: a broker and a registry share the processors."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.http_server import HttpServer

settings.register_profile("unhurried", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server that has nothing to say until the test gives it an answer."""
    server = HttpServer()
    yield server
    server.close()
