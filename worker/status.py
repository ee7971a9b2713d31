"""What the loop tells the sidecar: plain values that one thread writes and another reads."""

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from worker.metrics import Metrics

STUCK_AFTER_S = 60.0


@dataclass
class Status:
    """State of one worker.

    Attributes:
        phase: starting, running or stopping.
        down: dependency -> why it is waited for.
        last_turn: monotonic time at which the loop last came round.
        partitions: ready, waiting and restoring partitions.
        lag: messages behind, by partition.
        model: what scores, as `/model` shows it.
        schemas: by role, as `/schema` shows them.
        questions: for the loop to answer between two batches.
    """

    metrics: Metrics
    pipeline: str
    instance: str
    guarantee: str
    phase: str = "starting"
    down: dict[str, str] = field(default_factory=dict)
    last_turn: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.monotonic)
    partitions: dict[str, list[int]] = field(default_factory=dict)
    lag: dict[int, int] = field(default_factory=dict)
    model: dict[str, Any] | None = None
    schemas: dict[str, Any] = field(default_factory=dict)
    questions: "queue.SimpleQueue[tuple[Callable[..., Any], Future[Any]]]" = field(default_factory=queue.SimpleQueue)

    def turn(self) -> None:
        """Say that the loop makes progress."""
        self.last_turn = time.monotonic()

    def stuck_for_s(self) -> float:
        """How long the loop has not come round."""
        return time.monotonic() - self.last_turn

    def reasons_not_ready(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""

        def reasons() -> Iterator[str]:
            if self.phase != "running":
                yield f"the worker is {self.phase}"
            for dependency, reason in dict(self.down).items():
                yield f"waiting for {dependency}: {reason}"
            if self.model is None:
                yield "no model is loaded"
            if self.phase == "running" and not self.partitions.get("ready"):
                yield "no partition is assigned; more workers than partitions, or the group is still rebalancing"
            for number in self.partitions.get("restoring", []):
                yield f"partition {number} is rebuilding its windows"

        return list(reasons())

    def ask(self, question: Callable[..., Any], timeout_s: float) -> Any:
        """Have the loop answer a question with its own state, between two batches.

        Raises:
            TimeoutError: it did not come round in time.
        """
        answer: Future[Any] = Future()
        self.questions.put((question, answer))
        return answer.result(timeout_s)

    def answer(self, *state: Any) -> None:
        """Answer what was asked. Called by the loop."""
        while not self.questions.empty():
            question, answer = self.questions.get()
            try:
                answer.set_result(question(*state))
            except Exception as error:  # noqa: BLE001 - it belongs to who asked, not to the loop
                answer.set_exception(error)
