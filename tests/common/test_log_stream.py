"""A log that cannot be written costs lines, never the process, and what is written holds no secret."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any

import pytest
import structlog

from common.logs import configure_logs

LOG_TWICE = (
    "from common.log_stream import open_standard_streams; from common.logs import configure_logs; import logging;"
    "open_standard_streams(); configure_logs('info'); import structlog;"
    "[structlog.get_logger().info('line', n=n) for n in range(2)]; logging.getLogger('x').error('third')"
)


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    configure_logs("info")
    yield capsys
    structlog.reset_defaults()


@pytest.mark.parametrize("streams", ["2>/dev/full >/dev/full", "2>&- >&- <&-", "2>&-", "2> >(true)"])
def test_a_log_that_nobody_takes_ends_nothing(streams: str) -> None:
    command = f'exec "$0" -c "$1" {streams}'
    done = subprocess.run(
        ["/bin/bash", "-c", command, sys.executable, LOG_TWICE], check=False, timeout=60, capture_output=True
    )
    assert done.returncode == 0


class Disk(FileIO):
    """A file on a disk that has room for `room` more bytes."""

    def __init__(self, room: int) -> None:
        super().__init__(os.devnull, "wb")
        self.room, self.written = room, b""

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = bytes(data)[: self.room]
        self.written += taken
        self.room -= len(taken)
        return len(taken)


@pytest.mark.usefixtures("logs")
def test_lost_lines_are_reported_once_it_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(room=3)
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(BufferedWriter(disk)))
    configure_logs("info")
    for n in range(2):
        structlog.get_logger().info("a", n=n)
    logging.getLogger("library").error("b")
    disk.room = 10_000
    structlog.get_logger().info("c")
    cut, told, line = disk.written.decode().splitlines()
    assert cut == '{"n'
    assert json.loads(told) == {"event": "log lines were lost", "lines": 3, "level": "warning"}
    assert json.loads(line)["event"] == "c"


def test_neither_a_traceback_nor_a_nested_value_shows_a_secret(logs: pytest.CaptureFixture[str]) -> None:
    config = {"sasl.password": "p4ssword"}

    def ask() -> None:
        raise ValueError(f"no answer from http://user:{config['sasl.password']}@registry")

    try:
        ask()
    except ValueError:
        structlog.get_logger().exception("failed", reasons=["http://u:p4ssword@registry"], settings=config)
    told = logs.readouterr().err
    assert "p4ssword" not in told
    line = json.loads(told)
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["settings"] == {"sasl.password": "***"}
