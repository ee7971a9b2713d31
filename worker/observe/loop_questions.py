"""Questions that other threads put to the loop."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class LoopQuestions:
    """A queue of questions. The loop answers them with its own state, between two batches."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[..., Any], Future[Any]]] = queue.SimpleQueue()

    @property
    def waiting(self) -> int:
        """Questions that are not answered yet."""
        return self._queue.qsize()

    def ask(self, question: Callable[..., Any]) -> Future[Any]:
        """Put a question, from any thread. Cancel the future when the answer is no longer wanted.

        Args:
            question: called in the loop's thread, with the state that `answer` gets.
        """
        answer: Future[Any] = Future()
        self._queue.put((question, answer))
        return answer

    def answer(self, *state: Any) -> None:
        """Answer all waiting questions. Called by the loop."""
        while not self._queue.empty():
            question, answer = self._queue.get()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(question(*state))
            except Exception as error:  # noqa: BLE001 - it belongs to the thread that asked, not to the loop
                answer.set_exception(error)
