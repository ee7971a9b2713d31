"""Holds back lines of the log that say again what was said within the last minute, and counts them."""

import logging
import re
import threading
import time
from collections.abc import Callable

_AGAIN_AFTER_S = 60.0
_KEPT = 1000
# What differs between two lines that say the same: durations, counts of requests.
_VARYING = re.compile(
    r"\(after \d+ms in state \w+[^()]*(?:\(s\)[^()]*)?\)"
    r"|\d+(?:\.\d+)?(?= ?m?s\b)|\d+(?= request| error)|\[thrd:[^\]]*\]: "
)


class LineLimiter:
    """Tells which lines are to be written. One for a process; safe to use from several threads.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def admit(self, line: str) -> int | None:
        """None: hold the line back. Else how many like it were held back since the last one."""
        key, now = _VARYING.sub("", line), self._clock()
        with self._lock:
            said_s, held_back = self._seen.get(key, (now - _AGAIN_AFTER_S, 0))
            if now - said_s < _AGAIN_AFTER_S:
                self._seen[key] = said_s, held_back + 1
                return None
            self._seen.pop(key, None)
            self._seen[key] = now, 0  # the oldest comes first
            while len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
            return held_back


LINES = LineLimiter()
"""The limiter of this process."""


class RepeatFilter(logging.Filter):
    """Lets a library's warning through once a minute; what is below a warning passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; how many like it were held back is added to its text."""
        if record.levelno < logging.WARNING:
            return True
        held_back = LINES.admit(f"{record.name} {record.getMessage()}")
        if held_back:
            record.msg, record.args = f"{record.getMessage()} ({held_back} more like this since)", None
        return held_back is not None
