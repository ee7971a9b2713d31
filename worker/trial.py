"""A downloaded package is loaded in a process of its own first: what crashes or hangs there does so nowhere else.

XGBoost reads a booster without looking whether its trees are trees: a bit that was flipped before the package was
sealed may end the process that loads it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from worker.package import FAULTS, PackageError, load_package

_LONGEST_S = 60.0
_REFUSED = 3
_NICENESS = 10


def try_out(directory: Path, expected_digest: str | None) -> None:
    """Load a package elsewhere.

    Args:
        directory: where it lies.
        expected_digest: see `load_package`.

    Raises:
        PackageError: it must not be used, or whoever loads it crashes or waits forever.
    """
    command = [sys.executable, "-m", "worker.trial", str(directory), *([expected_digest] if expected_digest else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)  # noqa: S603 - our own
    except subprocess.TimeoutExpired as error:
        raise PackageError(
            "too_slow", f"model package {directory}: it is not loaded within {_LONGEST_S:.0f} s"
        ) from error
    if done.returncode == 0:
        return
    fault, _, words = done.stdout.partition(" ")
    if done.returncode == _REFUSED and fault in FAULTS:
        raise PackageError(fault, words)
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    words = f"model package {directory}: the process that loads it ends ({how}) {done.stderr[-300:]}"
    raise PackageError("crashes", words)


def _main(directory: str, expected_digest: str | None = None) -> int:
    os.nice(_NICENESS)
    try:
        load_package(Path(directory), version="on trial", expected_digest=expected_digest)
    except PackageError as error:
        sys.stdout.write(f"{error.fault} {error}")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
