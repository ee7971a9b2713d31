"""Two threads for one backtest: each scores some of the keys.

Most of the time goes into the model and into NumPy, which let other threads run. More than two would wait for the
interpreter.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

_THREADS = min(2, os.cpu_count() or 1)


def shares(readings: Mapping[int, int], threads: int = _THREADS) -> list[range]:
    """Keys of each thread: neighbours, with about as many readings.

    Args:
        readings: number of each key's readings; the keys count from 0, and some may be missing.
        threads: at most so many shares.
    """
    found: list[range] = []
    total, taken, begin = sum(readings.values()), 0, 0
    keys = sorted(readings)
    for key in keys:
        taken += readings[key]
        if taken * threads >= total * (len(found) + 1) or key == keys[-1]:
            found.append(range(begin, key + 1))
            begin = key + 1
    return found


def in_threads(work: Callable[[range], Iterator[None]], parts: Sequence[range]) -> None:
    """Run the steps of each part in a thread of its own. If one fails, or Ctrl-C is pressed, the others stop soon."""
    stop = threading.Event()

    def run(part: range) -> None:
        for _ in work(part):
            if stop.is_set():
                return

    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            running = [pool.submit(run, part) for part in parts]
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
        for done in running:
            done.result()
