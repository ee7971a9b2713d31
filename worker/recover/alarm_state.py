"""Reads the alarm states of newly assigned partitions from the compacted topic, while other partitions continue."""

from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, TopicPartition

from common.text import shown
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from worker.alarms.state_machine import AlarmState
from worker.config.pipeline import Pipeline
from worker.encode.encoder import state_from
from worker.kafka.client_config import consumer
from worker.kafka.message import key_of, value_of
from worker.observe.metrics import Metrics
from worker.recover.active_alarms import active_alarms, raise_if_ours
from worker.score.decode import WriterSchemaOf
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_MESSAGES_PER_CALL = 10_000


class AlarmRestore:
    """Reads several partitions at once, a part at each call. Has a consumer only while there is more to read."""

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
        self._fixed = {
            "group.id": "hazardstream-unused",  # required by the client, never joined
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        states = pipeline.outputs.alarm_state
        # Empty: the pipeline has no alarms.
        self._topic, self._schema = (states.topic, states.avro_schema) if states else ("", {})
        self._with_engine_names = pipeline.outputs.with_engine_names
        self._writer_schema_of = writer_schema_of
        self._reader: Consumer | None = None
        self._left: dict[int, range] = {}
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
        if not self._topic:
            self._latest[number] = {}
            return
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
        if offsets:
            self._left[number] = offsets
            self._reader = self._reader or consumer(self._config, self._fixed)
            self._reader.incremental_assign([TopicPartition(self._topic, number, offsets.start)])

    def drop(self, number: int) -> None:
        """Stop reading a partition, and forget what was read."""
        self._latest.pop(number, None)
        self._active.pop(number, None)
        if self._left.pop(number, None) is not None and self._reader is not None:
            self._reader.incremental_unassign([TopicPartition(self._topic, number)])
        if not self._left and self._reader is not None:
            self._reader.close()
            self._reader = None

    def advance(self, timeout_s: float) -> None:
        """Read the next messages, waiting up to `timeout_s` seconds for them."""
        if self._reader is None:
            return
        for message in self._reader.consume(_MESSAGES_PER_CALL, timeout_s):
            latest = self._latest.get(message.partition())
            if message.error() is not None or latest is None:
                continue
            key, value = key_of(message) or b"", value_of(message)
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value
        # Unlike the offsets of messages, the position also moves past aborted records and markers.
        for place in self._reader.position([TopicPartition(self._topic, number) for number in self._left]):
            self._left[place.partition] = range(
                max(self._left[place.partition].start, place.offset), self._left[place.partition].stop
            )

    def missing(self, number: int) -> str | None:
        """A text about what is still to be read of a partition; None if it has been read to the end."""
        left = self._left.get(number)
        if not left:
            return None
        return (
            f"its alarm state is being read back: {self._topic}/{number} is readable up to {left.start} of {left.stop}"
            " (a predecessor's transaction may still be open)"
        )

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
                raise_if_ours(value, error, f"the alarm state of {shown(key)} in {self._topic}/{number}")
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
            topic=self._topic,
            partition=number,
            active=active,
        )
