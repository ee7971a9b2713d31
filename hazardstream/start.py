"""The entry point: Ctrl-C ends a command without a traceback, even while its modules are being imported."""

import signal
import sys
import threading
from types import FrameType

INTERRUPTED = 130
"""Exit code; the same as in `common.progress`, which is not imported here: this module must be there at once."""


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background: Ctrl-C is meant for others
        _program()
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to clean up yet
    interrupted = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    _silence(interrupted)
    _import_program()
    signal.signal(signal.SIGINT, interrupt)
    try:
        _program()
    except Exception:  # an import that was interrupted may fail in any way
        if not interrupted.is_set():
            raise
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the interpreter ends


def _import_program() -> None:
    import hazardstream.cli  # noqa: F401, PLC0415 - takes most of a second


def _program() -> None:
    from hazardstream.cli import main as program  # noqa: PLC0415 - as above

    program()


def _silence(interrupted: threading.Event) -> None:
    """After Ctrl-C, print nothing about what fails in destructors and other threads because of it."""
    unraisable, of_thread = sys.unraisablehook, threading.excepthook

    def unraised(failure: "sys.UnraisableHookArgs") -> None:
        if not interrupted.is_set():
            unraisable(failure)

    def in_thread(failure: threading.ExceptHookArgs) -> None:
        if not interrupted.is_set():
            of_thread(failure)

    sys.unraisablehook, threading.excepthook = unraised, in_thread
