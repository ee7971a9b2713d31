"""Servers as child processes: start, wait, log to a file, and end with this process."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
from tenacity import (
    RetryError,
    Retrying,
    retry,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
)

from common.errors import UserError

_LOG_TAIL_LINES = 25
_STOP_S = 15.0
_START_S = 180.0  # MLflow's server takes over a minute on a busy machine
# Waits on a pipe that closes when this process ends in any way, then kills the process group of the server.
_WATCHDOG = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null'


class PortTakenError(UserError):
    """Another process took the port before the server started."""


retry_on_taken_port = retry(retry=retry_if_exception_type(PortTakenError), stop=stop_after_attempt(5), reraise=True)
"""Decorator for a function that picks free ports and starts servers on them."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def port_is_free(port: int) -> bool:
    """Whether a server can listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Server:
    """A child process and its process group.

    Attributes:
        name: used in messages.
        command: program and arguments.
        environment: variables in addition to those of this process.
        log: file with its standard output and error.
        process: the child; leader of its own process group and session.
        watchdog: kills the group when this process ends.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    watchdog: subprocess.Popen[bytes] = field(init=False)

    def launch(self) -> None:
        """Start it, for the first time or again. Its output is appended to the log."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self.watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, "watchdog", str(self.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid_file(self.log).write_text(str(self.process.pid))

    def kill(self) -> None:
        """End it with SIGKILL, like a crash. `launch` starts it again."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.watchdog.kill()
        self.watchdog.communicate()
        pid_file(self.log).unlink(missing_ok=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group, if that still exists."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def check_alive(self) -> None:
        """Raise an error if it has ended.

        Raises:
            PortTakenError: it ended because its port is taken.
            UserError: it ended for another reason.
        """
        if self.process.poll() is None:
            return
        what = f"{self.name} ended with exit code {self.process.returncode}; {self.log_tail()}"
        if re.search("address already in use", self.log.read_text(errors="replace"), re.IGNORECASE):
            raise PortTakenError(what)
        raise UserError(what)

    def log_tail(self) -> str:
        """The end of its log, after a line with the path of the log."""
        tail = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([f"the end of its log {self.log}:", *tail])


def start(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Server:
    """Start a server in its own process group, with its output in a file.

    The group is killed when this process ends, even by SIGKILL. The process id is written next to the log.

    Args:
        name: used in messages.
        command: program and arguments.
        log: file for standard output and error; overwritten.
        environment: variables in addition to those of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    server = Server(name, command, environment or {}, log)
    server.launch()
    return server


def wait_until_ready(servers: Sequence[Server], ready: Callable[[], bool], within_s: float = _START_S) -> None:
    """Wait until `ready()` is true, by default at most three minutes while they live. If that fails, stop all servers.

    Raises:
        PortTakenError: a server ended because its port is taken.
        UserError: a server ended for another reason, or they were not ready in time.
    """

    def ready_or_dead() -> bool:
        for server in servers:
            server.check_alive()
        return ready()

    attempts = Retrying(
        stop=stop_after_delay(within_s),
        wait=wait_fixed(0.1),
        retry=retry_if_result(lambda done: not done),
    )
    try:
        attempts(ready_or_dead)
    except BaseException as error:
        stop(servers)
        if isinstance(error, RetryError):
            first = servers[0]
            raise UserError(f"{first.name} does not answer after {within_s:.0f} s; {first.log_tail()}") from error
        raise


def stop(servers: Sequence[Server]) -> None:
    """Stop servers in parallel: with SIGTERM, then SIGKILL for those that take too long. Ignores ended ones."""
    for server in servers:
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)  # a process stopped by SIGSTOP does not handle SIGTERM
    for server in servers:
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(_STOP_S)
        server.kill()


def pid_file(log: Path) -> Path:
    """The file with the process id of the server with that log, while it runs."""
    return log.with_suffix(".pid")


@cache
def http_client() -> httpx.Client:
    """For requests to loopback addresses, also from several threads. A new client would read all CA certificates."""
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def answers(url: str) -> bool:
    """Whether a GET of a loopback address succeeds now."""
    try:
        return http_client().get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False
