"""A Confluent-compatible schema registry on this machine: Apicurio Registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.jars import apicurio
from local.java import java
from local.process import Server, answers, free_ports, retry_on_taken_port, start, stop, wait_until_ready

_CONFLUENT_API = "/apis/ccompat/v7"


@contextmanager
def schema_registry(directory: Path) -> Iterator[str]:
    """Run Apicurio Registry during the block.

    Args:
        directory: of its log file and data. If it is empty, so is the registry.

    Yields:
        The address of its Confluent-compatible API.

    Raises:
        UserError: it cannot be downloaded, or does not start; the text has the end of its log.
    """
    with registry_server(directory) as (_, url):
        yield url


@contextmanager
def registry_server(directory: Path) -> Iterator[tuple[Server, str]]:
    """Like `schema_registry`, for tests that kill it: also yields the server.

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
            # A file instead of memory: records contain schema ids, which must mean the same after a crash. Without a
            # write delay: what the registry has confirmed must survive a kill.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{directory.resolve() / 'registry'};WRITE_DELAY=0",
        },
    )
    wait_until_ready([server], lambda: answers(f"{url}/subjects"))
    return server, url
