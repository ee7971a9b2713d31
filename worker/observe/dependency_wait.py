"""Wait for a dependency that is down, with backoff, and show it meanwhile."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from common.errors import DependencyDownError
from worker.observe.worker_status import Status

T = TypeVar("T")
_LOG = structlog.get_logger(__name__)
_LONGEST_S = 5.0


class StoppedError(Exception):
    """The worker was asked to stop while it waited."""


def wait_for(call: Callable[[], T], status: Status, stop: threading.Event) -> T:
    """Call until no dependency is down.

    Raises:
        StoppedError: `stop` was set first.
    """

    def show(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, DependencyDownError):
            note_down(status, error)
        status.turn()

    retrying = Retrying(
        retry=retry_if_exception_type(DependencyDownError),
        wait=wait_exponential_jitter(multiplier=0.2, max=_LONGEST_S),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=show,
    )
    try:
        result = retrying(call)
    except RetryError as error:
        raise StoppedError from error
    status.note_all_up()
    return result


def note_down(status: Status, error: DependencyDownError) -> None:
    """Show a dependency as down, and log it once for each new reason."""
    if status.down.get(error.dependency) != error.reason:
        _LOG.warning("waiting", dependency=error.dependency, reason=error.reason)
    status.note_down(error.dependency, error.reason)
