"""Reads the alarm states of newly assigned partitions from the compacted topic, while other partitions continue."""

from collections.abc import Callable
from typing import Any

import structlog

from common.text import shown
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from worker.alarms.state_machine import AlarmState
from worker.config.pipeline import Pipeline
from worker.encode.encoder import state_from
from worker.kafka.message import key_of, value_of
from worker.observe.metrics import Metrics
from worker.recover.active_alarms import active_alarms, raise_if_ours
from worker.recover.compacted_topic import CompactedTopic
from worker.score.decode import WriterSchemaOf
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)


class AlarmRestore:
    """Reads several partitions at once, a part at each call."""

    def __init__(
        self,
        config: dict[str, Any],
        pipeline: Pipeline,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Beat: called regularly while published alarms are read."""
        self._config, self._pipeline, self._metrics, self._beat = config, pipeline, metrics, beat
        self._topic = CompactedTopic(config, pipeline.topics["alarm_state"])
        self._schema = pipeline.records["alarm_state"].schema
        self._with_engine_names = pipeline.outputs.with_engine_names
        self._writer_schema_of = writer_schema_of
        self._latest: dict[int, dict[bytes, bytes]] = {}
        self._active: dict[int, dict[bytes, AlarmState]] = {}

    def begin(self, partition: Partition, offsets: range, states_id: str) -> None:
        """Start to read a partition. If the topic has lost states, first find active alarms in published transitions.

        Args:
            partition: its `states_id` is the id of the topic that held all of its states.
            offsets: the offsets of the alarm-state topic to read.
            states_id: id of that topic now.

        Raises:
            DependencyDownError: active alarms have to be found, and broker or registry does not answer.
        """
        number = partition.number
        self.drop(number)
        replaced = partition.states_id not in {"", states_id}
        # If the checkpoint has no id, an empty topic may be a new one.
        if partition.live_from > 0 and (replaced or offsets.start > 0 or not (offsets or partition.states_id)):
            self._active[number] = active_alarms(
                self._config, self._pipeline, self._writer_schema_of, number, self._beat
            )
            if replaced or offsets.start > 0 or self._active[number]:
                self._report_lost(number, len(self._active[number]))
        # Once states were lost, the new topic never holds all of them. So the first id stays.
        partition.states_id = partition.states_id or states_id
        self._latest[number] = {}
        self._topic.begin(number, offsets)

    def drop(self, number: int) -> None:
        """Stop reading a partition, and forget what was read."""
        self._latest.pop(number, None)
        self._active.pop(number, None)
        self._topic.drop(number)

    def advance(self, timeout_s: float) -> None:
        """Read the next messages, waiting up to `timeout_s` seconds for them."""
        for message in self._topic.messages(timeout_s):
            latest = self._latest[message.partition()]
            key, value = key_of(message) or b"", value_of(message)
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value

    def missing(self, number: int) -> str | None:
        """A text about what is still to be read of a partition; None if it has been read to the end."""
        left = self._topic.missing(number)
        return None if left is None else f"its alarm state is being read back: {left}"

    def states(self, number: int) -> dict[bytes, AlarmState]:
        """The latest alarm of each key of a partition that has been read to the end.

        Raises:
            DependencyDownError: a writer's schema is not known yet and the registry does not answer; call again.
        """
        states = dict(self._active.get(number, {}))
        for key, value in self._latest[number].items():
            try:
                state = state_from(self._with_engine_names(decode(value, self._writer_schema_of, self._schema)))
            except UnreadableValueError as error:
                raise_if_ours(value, error, f"the alarm state of {shown(key)} in {self._topic.topic}/{number}")
                fault = str(error)
            else:
                fault = "an active alarm without onset" if state.active and state.onset_ts is None else ""
            if fault:
                # Another program wrote it. The key starts at normal, and its next change overwrites the record.
                _LOG.error("unreadable alarm state", partition=number, key=str(key), reason=fault)
            else:
                states[key] = state
        self.drop(number)
        return states

    def _report_lost(self, number: int, active: int) -> None:
        self._metrics.recreated.labels("alarm_state").inc()
        _LOG.error(
            "alarm states were deleted: active alarms were taken from the alarms that were published",
            topic=self._topic.topic,
            partition=number,
            active=active,
        )
