"""Restores the state of newly assigned partitions that windows do not hold: alarms, and aggregates."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.config.pipeline import Pipeline
from worker.kafka.topic_identity import Identity
from worker.observe.metrics import Metrics
from worker.recover.alarm_state import AlarmRestore
from worker.recover.start_offsets import Start
from worker.recover.window_state import WindowStateRestore
from worker.score.decode import WriterSchemaOf
from worker.score.scorer import Scorer


class StateRestore:
    """Reads several partitions at once, a part at each call, into the scorer.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        scorer: holds the state.
        writer_schema_of: of the outputs.
        metrics: counts recreated topics.
        beat: called regularly while outputs are read.
    """

    def __init__(
        self,
        config: dict[str, Any],
        pipeline: Pipeline,
        scorer: Scorer,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
        beat: Callable[[], None],
    ) -> None:
        self._scorer, self._topics = scorer, pipeline.topics
        self._alarms = (
            AlarmRestore(config, pipeline, writer_schema_of, metrics, beat) if "alarm_state" in self._topics else None
        )
        self._aggregates = (
            WindowStateRestore(config, pipeline, scorer.aggregates, writer_schema_of, metrics)
            if scorer.aggregates is not None
            else None
        )

    def begin(self, start: Start, found: Mapping[str, Identity]) -> None:
        """Start to read the state of a partition.

        Args:
            start: where the partition starts.
            found: the pipeline's topics that exist, by name.

        Raises:
            DependencyDownError: broker or registry does not answer.
        """
        ids = {role: found[topic].topic_id if topic in found else "" for role, topic in self._topics.items()}
        if self._alarms is not None:
            self._alarms.begin(start.partition, start.states["alarm_state"], ids["alarm_state"])
        if self._aggregates is not None:
            offsets = start.states["window_state"]
            self._aggregates.begin(
                start.partition, offsets, ids["window_state"], ids["input"], recovered=start.recovered
            )

    def drop(self, number: int) -> None:
        """Stop reading a partition, and forget what was read."""
        self._scorer.alarms.revoke(number)
        for restore in self._restores:
            restore.drop(number)

    def advance(self, timeout_s: float) -> None:
        """Read on, waiting up to `timeout_s` seconds for messages of each topic."""
        for restore in self._restores:
            restore.advance(timeout_s)

    def missing(self, number: int) -> str | None:
        """A text about what is still to be read of a partition; None if all has been read."""
        return next(filter(None, (restore.missing(number) for restore in self._restores)), None)

    @property
    def _restores(self) -> list[AlarmRestore | WindowStateRestore]:
        return [restore for restore in (self._alarms, self._aggregates) if restore is not None]

    def finish(self, number: int) -> dict[str, int]:
        """Give the scorer the state of a partition that has been read to the end.

        Returns:
            How much there was of each kind.

        Raises:
            DependencyDownError: a writer's schema is not known yet and the registry does not answer; call again.
        """
        states = {} if self._alarms is None else self._alarms.states(number)
        self._scorer.alarms.assign(number, states)
        counts = {"alarm_states": len(states)}
        if self._aggregates is not None:
            counts["aggregated_keys"] = self._aggregates.finish(number)
        return counts
