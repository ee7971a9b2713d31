"""Standard error as log output: a full disk or a closed pipe loses lines, but never ends the process."""

import os
import sys
from contextlib import suppress
from io import FileIO, TextIOBase, TextIOWrapper

_LOST = '{"event": "log lines were lost", "lines": %d, "level": "warning"}\n'


class LogStream(TextIOBase):
    """Writes whole lines without a buffer. Python's own stream would retry at exit, and fail."""

    def __init__(self) -> None:
        self._lost, self._cut = 0, False

    def write(self, line: str) -> int:
        """Write a line. If that fails, count it as lost, and report the count once writing works again."""
        text = _LOST % self._lost + line if self._lost else line
        try:
            self._write(f"\n{text}" if self._cut else text)
        except (OSError, ValueError):
            self._lost += 1
        else:
            self._lost, self._cut = 0, False
        return len(line)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def _write(self, text: str) -> None:
        stream = sys.stderr
        raw = getattr(stream.buffer, "raw", None) if isinstance(stream, TextIOWrapper) else None
        if not isinstance(raw, FileIO):
            stream.write(text)  # in tests
            return
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            written = raw.write(left)
            if written is None:
                raise BlockingIOError
            self._cut = self._cut or written < len(left)
            left = left[written:]


def open_standard_streams() -> None:
    """Open each closed standard stream on the null device. Otherwise a socket would get its descriptor."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - as long as the process lives
