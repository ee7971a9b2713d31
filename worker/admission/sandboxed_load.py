"""A model is loaded and tried in a process of its own first: what crashes or hangs there does so nowhere else.

XGBoost reads a booster without looking whether its trees are trees: a bit that was flipped before the package was
sealed may end the process that loads it. The process gets the bytes of the package, little of the environment, and
bounded memory and time.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys

from worker.admission.compatibility import prove
from worker.config.pipeline import Pipeline
from worker.model.package import open_package
from worker.model.package_files import FAULTS, Contents, PackageError

_LONGEST_S = 120
_MOST_BYTES = 1 << 32
_REFUSED = 3
_NICENESS = 10
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHON",
    "OPENBLAS",
    "OMP_",
    "COVERAGE_",
)
"""Variables, or their beginnings, that the process gets: none that may hold a secret."""


def try_out(contents: Contents, version: str, pipeline: Pipeline | None, *, max_ms: int, trusted: bool) -> None:
    """Load a package elsewhere, and send rows through the whole path there.

    Args:
        contents: its files.
        version: as it will be stamped on predictions.
        pipeline: whose records it is to score; None: the model alone is tried.
        max_ms: longest that it may take to score 1,000 readings of the pipeline.
        trusted: whether code in a pickled scaler may run.

    Raises:
        PackageError: it must not be used, or the process that loads it crashes or hangs.
    """
    task = pickle.dumps((contents, version, pipeline, max_ms, trusted))
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    # As it is here: these packages may be on a path that only this process has.
    environment["PYTHONPATH"] = os.pathsep.join(path or "." for path in sys.path)
    command = [sys.executable, "-m", "worker.admission.sandboxed_load"]
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, input=task, capture_output=True, timeout=_LONGEST_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(
            "too_slow", f"model package {contents.origin}: loading and trying it takes more than {_LONGEST_S} s"
        ) from error
    if done.returncode == 0:
        return
    fault, _, words = done.stdout.decode(errors="replace").partition(" ")
    if done.returncode == _REFUSED and fault in FAULTS:
        raise PackageError(fault, words)
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    said = done.stderr.decode(errors="replace")[-300:].strip()
    words = f"model package {contents.origin}: the process that loads and tries it ends ({how}) {said}"
    raise PackageError("crashes", words)


def _main() -> int:
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST_S, _LONGEST_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from worker.admission.whole_path import try_whole_path  # noqa: PLC0415 - only this process needs all the stages

    contents, version, pipeline, max_ms, trusted = pickle.load(sys.stdin.buffer)  # noqa: S301 - from `try_out`
    try:
        package = open_package(contents, version=version, trusted=trusted)
        if pipeline is not None:  # first: all that follows takes as long as the model does
            prove(package, pipeline, max_ms=max_ms)
        try_whole_path(package, pipeline)
    except PackageError as error:
        sys.stdout.write(f"{error.fault} {error}")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
