"""Standard error as the log's sink: a full disk or a reader that is gone costs lines, and never the process."""

import os
import sys
from contextlib import suppress
from io import FileIO, TextIOBase, TextIOWrapper

_LOST = '{"event": "log lines were lost", "lines": %d, "level": "warning"}\n'


class LogStream(TextIOBase):
    """Takes whole lines, and writes them unbuffered: Python's own stream would try again at exit, and fail."""

    def __init__(self) -> None:
        self._lost, self._cut = 0, False

    def write(self, line: str) -> int:
        """Write a line; where that fails, count it as lost, and say so once it works again."""
        told = _LOST % self._lost + line if self._lost else line
        try:
            self._write(f"\n{told}" if self._cut else told)
        except (OSError, ValueError):
            self._lost += 1
        else:
            self._lost, self._cut = 0, False
        return len(line)

    def flush(self) -> None:
        """Nothing is held back."""

    def _write(self, text: str) -> None:
        stream = sys.stderr
        raw = getattr(stream.buffer, "raw", None) if isinstance(stream, TextIOWrapper) else None
        if not isinstance(raw, FileIO):
            stream.write(text)  # a test's
            return
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            written = raw.write(left)
            if written is None:
                raise BlockingIOError
            self._cut = self._cut or written < len(left)
            left = left[written:]


def open_standard_streams() -> None:
    """Give each standard stream that was closed a place where nothing goes: else a socket would get its number."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - as long as the process lives
