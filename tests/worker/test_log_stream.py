"""A log that cannot be written costs lines, never the process, and what is written holds no secret."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from worker.log_stream import LogStream
from worker.logs import configure_logs

LOG_TWICE = (
    "from worker.log_stream import open_standard_streams; from worker.logs import configure_logs; import logging;"
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


def test_lines_that_were_lost_are_told_once_it_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, written = LogStream(), []
    full = True

    def write(text: str) -> None:
        if full:
            raise OSError(28, "No space left on device")
        written.append(text)

    monkeypatch.setattr("worker.log_stream._write", write)
    for text in ("a", "\n", "b\n"):
        assert stream.write(text) == len(text)
    full = False
    stream.write("c\n")
    stream.write("d\n")
    first, *rest = "".join(written).splitlines()
    assert json.loads(first) == {"event": "log lines were lost", "lines": 2, "level": "warning"}
    assert rest == ["c", "d"]


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
