"""A server that all xdist workers of one test run share."""

import fcntl
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TextIO

import pytest
from filelock import FileLock
from xdist import is_xdist_controller

_USERS = pytest.StashKey[TextIO]()
_STARTED_HERE = pytest.StashKey[ExitStack]()


def join_run(session: pytest.Session) -> None:
    """Hold a shared lock for as long as this process may use a shared server; to be called when the session starts.

    Under xdist each worker does so before any of them runs a test, so the one that started a server can tell when the
    others have left. The kernel drops the lock of a worker that crashed.
    """
    if is_xdist_controller(session):
        return  # It runs no test, and stays until all workers have left.
    users = (_run_directory(session.config) / "users-of-shared-servers").open("w")
    fcntl.flock(users, fcntl.LOCK_SH)
    session.config.stash[_USERS] = users
    session.config.stash[_STARTED_HERE] = ExitStack()


def leave_run(session: pytest.Session) -> None:
    """Stop what this process started, once the others have left; to be called when the session finishes.

    A fixture's teardown would be too early: the wait for the others would count as time of this worker's last test.
    """
    if is_xdist_controller(session):
        return
    session.config.stash[_STARTED_HERE].close()
    session.config.stash[_USERS].close()


def shared_server(
    config: pytest.Config,
    name: str,
    server: Callable[[Path], AbstractContextManager[str]],
) -> str:
    """The address of the run's server of that name, started by the worker that first needs it."""
    directory = _run_directory(config) / name
    address = directory / "address"
    with FileLock(f"{directory}.lock"):
        if not address.exists():
            directory.mkdir(exist_ok=True)
            started_here = config.stash[_STARTED_HERE]
            address.write_text(started_here.enter_context(server(directory)))
            # Last in, first out: no server stops before this process has the lock alone.
            started_here.callback(fcntl.flock, config.stash[_USERS], fcntl.LOCK_EX)
        return address.read_text()


def _run_directory(config: pytest.Config) -> Path:
    """The temporary directory of this run; under xdist, the one above the directories of the workers."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # no fixture is set up so early
    return base.parent if hasattr(config, "workerinput") else base
