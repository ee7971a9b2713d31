"""Suppresses log lines that repeat one of the last minute, and counts them."""

import logging
import re
import threading
import time
from collections.abc import Callable

_AGAIN_AFTER_S = 60.0
_KEPT = 1000
# Parts in which two repetitions may differ: durations, counts of requests.
_VARYING = re.compile(
    r"\(after \d+ms in state \w+[^()]*(?:\(s\)[^()]*)?\)"
    r"|\d+(?:\.\d+)?(?= ?m?s\b)|\d+(?= request| error)|\[thrd:[^\]]*\]: "
)


class LineLimiter:
    """Decides which lines are written. One per process; thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def admit(self, line: str) -> int | None:
        """None: suppress the line. Otherwise the number of repetitions suppressed since the last one was written."""
        key, now = _VARYING.sub("", line), self._clock()
        with self._lock:
            said_s, held_back = self._seen.get(key, (now - _AGAIN_AFTER_S, 0))
            if now - said_s < _AGAIN_AFTER_S:
                self._seen[key] = said_s, held_back + 1
                return None
            self._seen.pop(key, None)
            self._seen[key] = now, 0  # keeps the oldest first
            while len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
            return held_back


LINES = LineLimiter()
"""The limiter of this process."""


class RepeatFilter(logging.Filter):
    """Passes each warning of a library once a minute, and all lines below warning level."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record. Adds the number of suppressed repetitions to its text."""
        if record.levelno < logging.WARNING:
            return True
        held_back = LINES.admit(f"{record.name} {record.getMessage()}")
        if held_back:
            record.msg, record.args = f"{record.getMessage()} ({held_back} more like this since)", None
        return held_back is not None
