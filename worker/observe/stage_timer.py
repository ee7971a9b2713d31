"""Measures the stages of a batch."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from worker.observe.metrics import Metrics


def stage_timer(
    metrics: Metrics, clock: Callable[[], float] = time.perf_counter
) -> Callable[[str], AbstractContextManager[None]]:
    """A timer: given the name of a stage, it is a context manager that adds the seconds spent inside to the metrics.

    Args:
        metrics: whose `stage_seconds` is updated.
        clock: gives seconds.
    """

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = clock()
        yield
        metrics.stage_seconds.labels(stage).observe(clock() - started)

    return timed
