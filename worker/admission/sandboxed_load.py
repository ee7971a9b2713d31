"""Loads a model in a sandbox first: a separate process, so that a crash or a hang does not affect the worker.

XGBoost does not validate the trees of a booster: a flipped bit can crash the process that loads it. The sandbox gets
the bytes of the model, few environment variables, and limited memory and time.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from worker.admission.compatibility import demanded_task, require_compatible
from worker.config.pipeline import Pipeline
from worker.model.formats import AnyFiles, open_model
from worker.model.package_files import FAULTS, PackageError

_MOST_CPU_S = 120
_LONGEST_S = 600
"""So much longer because a good model waits for the processor on a busy machine; one that hangs uses none."""
_MOST_BYTES = 1 << 32
_REFUSED = 3
_PASSED = "passed"
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
"""Prefixes of the environment variables that the process gets: none that may hold a secret."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Unless set: a thread for each core would take address space, and time from what runs beside."""


def load_in_sandbox(contents: AnyFiles, version: str, pipeline: Pipeline | None, *, max_ms: int, trusted: bool) -> None:
    """Load a model in a sandbox, check that it suits the pipeline, and do a dry run.

    Args:
        contents: its files.
        version: as predictions will name it.
        pipeline: whose records the model will score; None: only the model is checked.
        max_ms: processor time, ms, that 1,000 readings may take.
        trusted: whether code of the model's author may run.

    Raises:
        PackageError: the check fails, or the process crashes or takes too long.
    """
    task = pickle.dumps((contents, version, pipeline, max_ms, trusted))
    environment = _ONE_THREAD | {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    # The same import path as here.
    environment["PYTHONPATH"] = os.pathsep.join(path or "." for path in sys.path)
    command = [sys.executable, "-m", "worker.admission.sandboxed_load"]
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, input=task, capture_output=True, timeout=_LONGEST_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise _too_long(contents, f"{_LONGEST_S} s") from error
    if done.returncode == 0 and done.stdout == _PASSED.encode():  # a model may end the process with 0, too
        return
    fault, _, text = done.stdout.decode(errors="replace").partition(" ")
    if done.returncode == _REFUSED and fault in FAULTS:
        raise PackageError(fault, text)
    if done.returncode == -signal.SIGXCPU:
        raise _too_long(contents, f"{_MOST_CPU_S} s of processor time")
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    printed = done.stderr.decode(errors="replace").strip().split("\n")[-1]  # of a traceback, the error
    said = f": {printed[:300]}" if printed else ""
    raise PackageError("crashes", f"model {contents.origin}: the process that checks it crashes ({how}){said}")


def _too_long(contents: AnyFiles, limit: str) -> PackageError:
    return PackageError("too_slow", f"model {contents.origin}: the check before use takes more than {limit}")


def _main() -> int:
    os.nice(_NICENESS)
    _be_killed_first()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a model may print
    contents, version, pipeline, max_ms, trusted = pickle.load(sys.stdin.buffer)  # noqa: S301 - from `load_in_sandbox`
    try:
        check(contents, version, pipeline, max_ms=max_ms, trusted=trusted)
    except PackageError as error:
        return _refused(answer, error.fault, str(error))
    except MemoryError:
        return _refused(
            answer,
            "too_large",
            f"model {contents.origin} needs more than {_MOST_BYTES >> 30} GiB of memory; use a smaller one",
        )
    except Exception as error:  # noqa: BLE001 - code of the author, or a file that a library fails on
        return _refused(
            answer, "crashes", f"model {contents.origin} cannot be checked: {type(error).__name__}: {error}"
        )
    answer.write(_PASSED)
    answer.flush()
    return 0


def _be_killed_first() -> None:
    """If memory runs out, the kernel is to end this process and not the worker."""
    with suppress(OSError):  # not on every system
        Path("/proc/self/oom_score_adj").write_text("1000")


def check(contents: AnyFiles, version: str, pipeline: Pipeline | None, *, max_ms: int, trusted: bool) -> None:
    """What the sandbox does; the arguments are those of `load_in_sandbox`.

    Raises:
        PackageError: the check fails.
    """
    from worker.admission.dry_run import dry_run  # noqa: PLC0415 - only the sandbox needs all the stages

    model = open_model(contents, version=version, trusted=trusted, task=demanded_task(pipeline))
    if pipeline is not None:  # first, because a slow model makes everything else slow
        require_compatible(model, pipeline, max_ms=max_ms)
    dry_run(model, pipeline)


def _refused(answer: TextIO, fault: str, text: str) -> int:
    answer.write(f"{fault} {' '.join(text.split())}")
    answer.flush()
    return _REFUSED


if __name__ == "__main__":
    sys.exit(_main())
