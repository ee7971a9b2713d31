"""A worker as a child process."""

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from common.errors import UserError
from local.process import Server, answers, free_ports, port_is_free, retry_on_taken_port, start, wait_until_ready

_HTTP_PORT = 8080
_READY_S = 180.0
"""It imports the model's libraries twice: for the check in a process of its own, too."""


@retry_on_taken_port
def start_worker(
    directory: Path, options: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[Server, str]:
    """Start a worker and wait until it is ready.

    Args:
        directory: of its log.
        options: of the command `hazardstream worker`.
        environment: further variables.

    Returns:
        The process, and the address of its sidecar.

    Raises:
        UserError: it does not become ready; the text has the end of its log.
    """
    port = _HTTP_PORT if port_is_free(_HTTP_PORT) else free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    worker = start(
        "the worker",
        [sys.executable, "-m", "hazardstream", "worker", *options, "--http-port", str(port)],
        directory / "worker.log",
        environment,
    )
    wait_until_ready([worker], lambda: answers(f"{address}/ready"), _READY_S)
    return worker, address


def stop_worker(worker: Server) -> None:
    """Stop it with SIGTERM, and check its exit code.

    Raises:
        UserError: it ended with an error.
    """
    worker.process.send_signal(signal.SIGTERM)
    code = worker.process.wait(60)
    if code:
        raise UserError(f"the worker ended with exit code {code}; {worker.log_tail()}")
