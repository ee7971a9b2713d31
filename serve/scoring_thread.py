"""One thread scores for all requests. Those that wait meanwhile are scored together, so a queue empties fast."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple

from serve.answers import Answer
from serve.metrics import ServeMetrics
from serve.problems import ProblemError
from serve.scoring import RequestScorer
from worker.http.server import REQUEST_S

_WAITING = 256
# Two seconds are left to read the request and to send the answer.
_LONGEST_S = REQUEST_S - 2.0
_TOGETHER, _TOGETHER_BYTES = 64, 500_000
Read = Callable[[RequestScorer], Mapping[str, Any]]
"""Reads a request; raises ProblemError."""


class _Job(NamedTuple):
    scorer: RequestScorer
    read: Read
    size: int
    answer: Future[Answer]


class ScoringThread:
    """One thread, because a request takes about a millisecond. Run more processes for more cores."""

    def __init__(self, metrics: ServeMetrics) -> None:
        self._metrics, self._count = metrics, 0
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="score", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it scores."""
        return self._thread.is_alive()

    async def score(self, scorer: RequestScorer, read: Read, size: int) -> Answer:
        """Score a request.

        Args:
            scorer: scores it.
            read: reads it, on the thread.
            size: of its body, bytes.

        Raises:
            ProblemError: 400 or 422, 503 while too many requests wait, or if its turn does not come or end in time.
        """
        if self._count >= _WAITING:
            raise ProblemError(503, "busy", "too many requests are waiting", retry_after_s=1)
        self._count += 1
        self._metrics.waiting.set(self._count)
        answer: Future[Answer] = Future()
        self._jobs.put(_Job(scorer, read, size, answer))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), _LONGEST_S)
        except TimeoutError as late:
            text = f"the request was not scored within {_LONGEST_S:g} s"
            raise ProblemError(503, "busy", text, retry_after_s=1) from late
        finally:
            self._count -= 1
            self._metrics.waiting.set(self._count)

    def _run(self) -> None:
        while True:
            for scorer, jobs in groupby(self._taken(), key=lambda job: job.scorer):
                self._score(scorer, [job for job in jobs if job.answer.set_running_or_notify_cancel()])

    def _taken(self) -> list[_Job]:
        """The next request, and those that wait behind it."""
        jobs = [self._jobs.get()]
        while len(jobs) < _TOGETHER and sum(job.size for job in jobs) < _TOGETHER_BYTES:
            try:
                jobs.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return jobs

    @staticmethod
    def _score(scorer: RequestScorer, jobs: list[_Job]) -> None:
        requests = list(_read(jobs))
        try:
            found = scorer.score_all([request for _, request in requests], time.time_ns() // 1_000_000)
        except BaseException as error:  # noqa: BLE001 - it belongs to the requests, not to this thread
            for job, _ in requests:
                job.answer.set_exception(_harmless(error))
            return
        for (job, _), answer in zip(requests, found, strict=True):
            if isinstance(answer, ProblemError):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)


def _read(jobs: list[_Job]) -> Iterator[tuple[_Job, Mapping[str, Any]]]:
    """The requests that can be read."""
    for job in jobs:
        try:
            yield job, job.read(job.scorer)
        except BaseException as error:  # noqa: BLE001 - as above
            job.answer.set_exception(_harmless(error))


def _harmless(error: BaseException) -> Exception:
    """What sys.exit raises, for example, would end the HTTP server."""
    return error if isinstance(error, Exception) else RuntimeError(f"scoring raised {error!r}")
