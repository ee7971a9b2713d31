"""Measures the stages of a batch."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from worker.observe.metrics import Metrics


def stage_timer(metrics: Metrics) -> Callable[[str], AbstractContextManager[None]]:
    """A timer: given the name of a stage, it is a context manager that adds the seconds spent inside to the metrics."""

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        metrics.stage_seconds.labels(stage).observe(time.perf_counter() - started)

    return timed
