"""Notices a loop that is stuck, and says in the log where."""

import sys
import threading
import time
import traceback

import structlog

from worker.observe.worker_status import Status

_LOG = structlog.get_logger(__name__)


def start_watchdog(status: Status) -> None:
    """Watch a worker's loop on a thread of its own for as long as the process lives."""
    threading.Thread(target=_watch, args=(status,), name="watchdog", daemon=True).start()


def _watch(status: Status) -> None:
    told = False
    while True:
        time.sleep(min(1.0, status.stuck_after_s / 4))
        stuck = status.stuck()
        if stuck and not told:
            status.metrics.stuck.inc()
            _LOG.error("the loop is stuck", seconds=round(status.stuck_for_s(), 1), stacks=_stacks())
        elif told and not stuck:
            _LOG.warning("the loop continues")
        told = stuck


def _stacks() -> dict[str, list[str]]:
    """Where each thread stands, outermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(ident, str(ident)): [line.rstrip() for line in traceback.format_stack(frame)]
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to other threads' frames
    }
