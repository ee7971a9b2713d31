"""Work in other processes, which Ctrl-C ends at once and without a traceback, and which do not outlive their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def done_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    prepare: Callable[..., None] | None = None,
    args: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """Call a function with each item. Yields the results in the order in which they are done.

    Args:
        function: of a module, as the processes import it.
        items: whatever can be pickled.
        processes: how many, at most.
        prepare: called first in each of them.
        args: of `prepare`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (prepare, args)) as pool:
        try:
            # They start with SIGINT blocked: their imports must not be interrupted, which would be told by tracebacks.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                submitted = [pool.submit(function, item) for item in items]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for done in as_completed(submitted):
                yield done.result()
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(prepare: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*args)


def _end_with_parent() -> None:
    # A parent that is killed cannot tell its processes, and they would wait for more work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
