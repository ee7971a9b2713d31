"""What the loop tells the sidecar: plain values that one thread writes and another reads."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.observe.metrics import Metrics, show

START_S = 900.0  # longest step of a start: download, check in the sandbox (at most 600 s), load and dry run of a model


@dataclass
class Status:
    """State of one worker.

    Attributes:
        phase: starting, running or stopping.
        stuck_after_s: how long the loop may take for one iteration before it counts as stuck; a start may take longer.
        committed: whether this process has committed a batch.
        down: dependency -> why it is waited for.
        last_turn: monotonic time at which the loop last completed an iteration.
        partitions: by state: ready, restoring; waiting and held with their reasons.
        lag: messages behind, by partition.
        group: why the group gives this worker no partition, where that is known.
        model_failure: why the model before this one was given up while it scored, until another version takes over.
        stalled: partitions that have input and commit nothing, and why.
        model: the model that scores, as `/model` shows it.
        model_watch: how the model's alias is watched, as `/model` shows it; None if the model cannot change.
        challenger: the model that scores in the shadow; None without a challenger.
        challenger_watch: as `model_watch`, of the challenger.
        schemas: by role, as `/schema` shows them.
    """

    metrics: Metrics
    pipeline: str
    instance: str
    guarantee: str
    phase: str = "starting"
    stuck_after_s: float = 60.0
    committed: bool = False
    down: dict[str, str] = field(default_factory=dict)
    last_turn: float = field(default_factory=time.monotonic)
    partitions: dict[str, Any] = field(default_factory=dict)
    lag: dict[int, int] = field(default_factory=dict)
    stalled: dict[int, str] = field(default_factory=dict)
    group: str | None = None
    model: dict[str, Any] | None = None
    model_failure: str | None = None
    model_watch: dict[str, Any] | None = None
    challenger: dict[str, Any] | None = None
    challenger_watch: dict[str, Any] | None = None
    schemas: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Show in the metrics what they tell of this state."""
        self.metrics.ready.set_function(lambda: not self.reasons_not_ready())
        self.name(self.instance)

    def name(self, instance: str) -> None:
        """Give the worker its name."""
        self.instance = instance
        show(self.metrics.worker_info, {(self.pipeline, instance, self.guarantee): 1})

    def note_down(self, dependency: str, reason: str) -> None:
        """Record that the worker waits for a dependency, and why."""
        self.down[dependency] = reason
        self.metrics.waits.labels(dependency).inc()
        self.metrics.dependency_up.labels(dependency).set(0)

    def note_all_up(self) -> None:
        """Record that the worker waits for no dependency."""
        for dependency in self.down:
            self.metrics.dependency_up.labels(dependency).set(1)
        self.down.clear()

    @property
    def longest_turn_s(self) -> float:
        """How long the loop may take now. A start checks and loads a model, which may take minutes."""
        return self.stuck_after_s if self.phase == "running" else max(self.stuck_after_s, START_S)

    def turn(self) -> None:
        """Record that the loop makes progress."""
        self.last_turn = time.monotonic()

    def note_commit(self) -> None:
        """Record that a batch was committed. The first call also records how long the start took."""
        self.metrics.last_commit.set_to_current_time()
        if not self.committed:
            self.committed = True
            self.metrics.first_commit.set(_process_age_s())

    def stuck_for_s(self) -> float:
        """How long the loop has not completed an iteration."""
        return time.monotonic() - self.last_turn

    def stuck(self) -> bool:
        """Whether the loop has not completed an iteration for too long."""
        return self.stuck_for_s() >= self.longest_turn_s

    def reasons_not_ready(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""

        def reasons() -> Iterator[str]:
            if self.phase != "running":
                yield f"the worker is {self.phase}"
            for dependency, reason in dict(self.down).items():
                yield f"waiting for {dependency}: {reason}"
            if self.model is None:
                yield "no model is loaded"
            waiting = self.partitions.get("waiting", {})
            if self.phase == "running" and not (self.partitions.get("ready") or waiting or self.down):
                yield "no partition is assigned: " + (
                    self.group or "the group is rebalancing, or waits until the session of a member that left expires"
                )
            for number, reason in waiting.items():
                yield f"partition {number} is waiting: {reason}"
            for number, reason in self.partitions.get("held", {}).items():
                yield f"partition {number} is waiting for {reason}"
            for number, reason in self.stalled.items():
                yield f"partition {number} makes no progress: {reason}"
            for number in self.partitions.get("restoring", []):
                yield f"partition {number} is rebuilding its windows"

        return list(reasons())

    def warnings(self) -> list[str]:
        """Problems that an operator should fix although readings are being scored."""
        failure, model = self.model_failure, self.model
        if failure is None:
            return []
        instead = "no other one is there yet" if model is None else f"version {model['version']} scores instead"
        return [f"{failure}; {instead}"]


def _process_age_s() -> float:
    """Seconds since this process was started (proc(5): field 22 of /proc/self/stat, in clock ticks since boot)."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")
