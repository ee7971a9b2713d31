"""Real servers for the tests that need them: one of each for the whole run, started by the first test that asks."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from coverage import Coverage

from local.kafka import broker
from local.process import Server
from local.registry import schema_registry
from tests.postgresql import new_database, postgresql
from tests.repository import ROOT
from tests.secured_broker import Secured, secured_broker
from tests.shared_server import join_run, leave_run, shared_server

pytest_plugins = ["tests.models", "tests.fixtures_worker", "tests.fixtures_producers"]

# Marker (and fixture of the same name): how the summary calls it.
REAL_SERVERS = {"kafka": "real Apache Kafka", "registry": "real schema registry", "postgresql": "real PostgreSQL"}
SERVER_FIXTURES = {*REAL_SERVERS, "secured", "mlflow_url", "postgresql_url"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Coverage is that of quick tests: measuring makes a simulation or a training half as slow again."""
    measured = Coverage.current() if item.get_closest_marker("slow") else None
    if measured is not None:
        measured.stop()
    try:
        return (yield)
    finally:
        if measured is not None:
            measured.start()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Bootstrap address of the run's Kafka, or of the one named in KAFKA_BOOTSTRAP_SERVERS.

    It is shared: name topics, groups and transactional ids after `unique_name`.
    """
    return shared_server(pytestconfig, "kafka", broker)


@pytest.fixture(scope="session")
def registry(pytestconfig: pytest.Config) -> str:
    """Address of the Confluent-compatible API of the run's schema registry. It is shared: use subjects of your own."""
    return shared_server(pytestconfig, "registry", schema_registry)


@pytest.fixture
def postgresql_url(pytestconfig: pytest.Config) -> str:
    """Address of an empty database of this test's own on the run's PostgreSQL server."""
    return new_database(shared_server(pytestconfig, "postgresql", postgresql))


@pytest.fixture(scope="session")
def secured(pytestconfig: pytest.Config) -> Secured:
    """The run's broker with TLS, SASL and ACLs. It is shared: name topics, groups and transactional ids of your own."""
    return Secured.load(shared_server(pytestconfig, "secured", secured_broker))


@pytest.fixture
def recordings() -> Path:
    folder = ROOT.parent / "shared/data/cells_10s"
    if not folder.is_dir():
        pytest.skip(f"the cell recordings are not at {folder}: see docs for their public source")
    return folder


@pytest.fixture(autouse=True)
def _logs_as_by_default() -> Iterator[None]:
    """A command that was run inside a test has set up logging for itself, on a stream that ends with it."""
    yield
    structlog.reset_defaults()
    for client in ("librdkafka", "urllib3"):
        logging.getLogger(client).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _no_server_without_its_mark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make test-fast` leaves out the tests that are marked: no other one may start a server."""

    def refuse(server: Server) -> None:
        pytest.fail(f"{server.name} is started by a test without the mark `server`: add its fixture to SERVER_FIXTURES")

    if not any(map(request.node.get_closest_marker, ("server", "slow"))):
        monkeypatch.setattr(Server, "launch", refuse)


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has, legal as (the beginning of) a topic, group, subject or transactional id."""
    test = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name)
    return f"{test[:60]}-{uuid4().hex[:8]}"


@pytest.fixture
def topic_prefix(unique_name: str) -> str:
    """What the topics of this test begin with."""
    return f"{unique_name}."


def pytest_sessionstart(session: pytest.Session) -> None:
    join_run(session)


@pytest.hookimpl(trylast=True)  # after the teardown of fixtures
def pytest_sessionfinish(session: pytest.Session) -> None:
    leave_run(session)


@pytest.hookimpl(tryfirst=True)  # before -m selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for server in REAL_SERVERS:
            if {server, f"{server}_url"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(server)
            if item.get_closest_marker(server):
                # Properties travel with the report from an xdist worker.
                item.user_properties.append(("server", server))
                item.add_marker("server")
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("server")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "server"
    ]
    counts = [f"{title}: {ran.count(server)} tests" for server, title in REAL_SERVERS.items()]
    terminalreporter.write_line("; ".join(counts))
