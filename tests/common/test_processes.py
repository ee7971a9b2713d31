"""Work in other processes: its results, and its end by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.processes import done_in_processes

INTERRUPTED = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
import hazardstream.cli
from common.processes import done_in_processes
hazardstream.cli.main = lambda: print("began", flush=True) or list(done_in_processes(time.sleep, [600] * 8, 2))
from hazardstream.start import main
main()
"""

KILLED = """
import os, time
from common.processes import done_in_processes
list(done_in_processes(time.sleep, [600] * 2, 2, print, ("began",)))
"""


def test_results_come_as_they_are_done_and_errors_are_raised() -> None:
    assert sorted(done_in_processes(abs, range(-3, 0), 2)) == [1, 2, 3]
    with pytest.raises(ValueError, match="chr"):
        list(done_in_processes(chr, [-1], 2))


@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("after_s", [0.0, 0.2, 1.5])
def test_ctrl_c_ends_it_at_once_and_silently(after_s: float, whole_group: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    with (tmp_path / "err").open("w") as err:
        working = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, start_new_session=True)
        assert working.stdout is not None
        working.stdout.readline()
        time.sleep(after_s)  # any time: while the processes start, and at work
        if whole_group:
            os.killpg(working.pid, signal.SIGINT)
        else:
            working.send_signal(signal.SIGINT)
        assert working.wait(60) == 130
    assert (tmp_path / "err").read_text() == ""


def test_its_processes_end_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-uc", KILLED], stdout=subprocess.PIPE) as working:
        assert working.stdout is not None
        began = working.stdout.readline(), working.stdout.readline()
        working.kill()
        assert began == (b"began\n", b"began\n")
        assert working.stdout.read() == b""  # ends when the last of them ends
