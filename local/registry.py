"""A real Confluent-compatible schema registry on this machine: Apicurio Registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.jars import apicurio
from local.java import java
from local.process import Server, answers, free_ports, retry_on_taken_port, start, stop, wait_until_ready

_CONFLUENT_API = "/apis/ccompat/v7"


@contextmanager
def schema_registry(directory: Path) -> Iterator[str]:
    """Run Apicurio Registry for the length of the block.

    Args:
        directory: gets its log file and what it stores; with nothing in it, so is the registry.

    Yields:
        The address of its Confluent-compatible API.

    Raises:
        UserError: it can't be had, or does not start; with the end of its log.
    """
    with registry_server(directory) as (_, url):
        yield url


@contextmanager
def registry_server(directory: Path) -> Iterator[tuple[Server, str]]:
    """As `schema_registry`, for who wants to kill it: yields the server too.

    Launched again, it has the same address, and the schemas under the same ids.
    """
    server, url = _start(directory)
    try:
        yield server, url
    finally:
        stop([server])


@retry_on_taken_port
def _start(directory: Path) -> tuple[Server, str]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}{_CONFLUENT_API}"
    command = [java(21), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar"]
    server = start(
        "the schema registry",
        [*command, str(apicurio() / "quarkus-run.jar")],
        directory / "registry.log",
        {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": "0",
            # A file instead of memory: ids stand in the records of the log, and must mean the same after a crash.
            # Written when told, not half a second later: what it has answered for must survive a kill.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{directory.resolve() / 'registry'};WRITE_DELAY=0",
        },
    )
    wait_until_ready([server], lambda: answers(f"{url}/subjects"))
    return server, url
