"""A real PostgreSQL server, of the version that the machine has installed."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from local.process import Server, free_ports, retry_on_taken_port, start, stop, wait_until_ready

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"


def server_programs() -> Path:
    """The directory of `initdb` and `postgres`; the test is skipped on a machine without them."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    if not found:
        pytest.skip("no PostgreSQL server is installed; on Debian: apt-get install postgresql")
    return max(found, key=lambda path: path.parent.name)


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run a server during the block.

    Args:
        directory: of its log file.

    Yields:
        Its address, without a database; see `new_database`.
    """
    with postgresql_server(directory) as (_, url):
        yield url


@contextmanager
def postgresql_server(directory: Path) -> Iterator[tuple[Server, str]]:
    """Like `postgresql`, for tests that kill it: also yields the server. Launched again, it has the same data."""
    # Not the given directory: only its owner may pass there, and the server refuses to run as root.
    data = Path(tempfile.mkdtemp(prefix="hazardstream-postgresql-"))
    try:
        server, url = _start(data, directory)
        try:
            yield server, url
        finally:
            server.signal(signal.SIGINT)  # SIGTERM waits until all clients have left
            stop([server])
    finally:
        shutil.rmtree(data)


@retry_on_taken_port
def _start(data: Path, directory: Path) -> tuple[Server, str]:
    programs, (port,) = server_programs(), free_ports(1)
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, _USER, _USER)
        as_user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    initialise = [*as_user, str(programs / "initdb"), "-D", str(data / "pg"), "-U", _USER, "-A", "trust", "-E", "UTF8"]
    if not (data / "pg").exists():
        subprocess.run(initialise, check=True, capture_output=True, cwd="/")
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "timezone": "Asia/Kolkata",  # no code may rely on UTC
        "shared_buffers": "32MB",
        "wal_level": "minimal",
        "max_wal_senders": 0,
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [*as_user, str(programs / "postgres"), "-D", str(data / "pg"), *settings]
    server = start("PostgreSQL", command, directory / "postgresql.log")
    url = f"postgresql://{_USER}@127.0.0.1:{port}"
    wait_until_ready([server], lambda: _answers(url))
    return server, url


def _answers(url: str) -> bool:
    try:
        psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def new_database(server: str) -> str:
    """Create an empty database on a server, and return its address."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return f"{server}/{name}"
