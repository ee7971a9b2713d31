"""An MLflow tracking and registry server on this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.process import Server, answers, free_ports, retry_on_taken_port, start, stop, wait_until_ready


@contextmanager
def mlflow_server(directory: Path) -> Iterator[str]:
    """Run an MLflow server during the block.

    Args:
        directory: of its database, artifacts and log file. Existing contents are served.

    Yields:
        Its address, for use as tracking URI.

    Raises:
        UserError: it does not start; the text has the end of its log.
    """
    with mlflow_process(directory) as (_, url):
        yield url


@contextmanager
def mlflow_process(directory: Path) -> Iterator[tuple[Server, str]]:
    """Like `mlflow_server`, for tests that kill it: also yields the server. Launched again, it has the same address."""
    server, url = _start(directory)
    try:
        yield server, url
    finally:
        stop([server])


@retry_on_taken_port
def _start(directory: Path) -> tuple[Server, str]:
    directory.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = start(
        "the MLflow server",
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{(directory / 'mlflow.db').resolve()}"),
            *("--artifacts-destination", str((directory / "artifacts").resolve())),
        ],
        directory / "mlflow.log",
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    wait_until_ready([server], lambda: answers(f"{url}/health"))
    return server, url
