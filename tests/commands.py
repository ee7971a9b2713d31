"""The `hazardstream` command, run inside the test process: a process of its own costs a second of imports.

Tests of signals, closed streams and a missing home start real processes.
"""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from hazardstream.cli import main


class Done(NamedTuple):
    """A finished command, with the names that `subprocess.CompletedProcess` has."""

    returncode: int
    stdout: str
    stderr: str


def hazardstream(*arguments: str, **environment: str) -> Done:
    """Run the command with these environment variables added."""
    out, err = io.StringIO(), io.StringIO()
    variables = {"COLUMNS": "200", "NO_COLOR": "1", **environment}
    with (
        patch.dict(os.environ, variables),
        patch.object(sys, "argv", ["hazardstream", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        return Done(_exit_code(), out.getvalue(), err.getvalue())


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
