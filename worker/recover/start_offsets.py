"""Where newly assigned partitions start: from committed offsets, checkpoints, and what the log still holds."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from common.arrays import NEVER
from common.errors import DependencyDownError, UserError
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text
from worker.kafka.more_partitions import command_to_add
from worker.kafka.topic_identity import Identity
from worker.kafka.topic_reader import Span
from worker.observe.metrics import Metrics
from worker.recover.partition_ends import PartitionEnds, offsets_of, partition_ends
from worker.recover.recovered_place import Place, recovered_places
from worker.score.decode import WriterSchemaOf
from worker.windows.keyed_state import REBUILD_SPANS
from worker.windows.partition import Checkpoint, Partition

_LOG = structlog.get_logger(__name__)
_TIMEOUT_S = 5.0


class Start(NamedTuple):
    """Where a partition starts.

    Attributes:
        partition: with its start offsets and no windows.
        states: offsets of the topics of state to read for it, by role.
        lost: how many offsets were deleted by retention before the group read them.
        incomplete: whether the log no longer reaches back far enough for a full rebuild.
        recovered: whether the committed offset is gone, and outputs show where it goes on.
    """

    partition: Partition
    states: dict[str, range]
    lost: int
    incomplete: bool
    recovered: bool = False


class _Processed(NamedTuple):
    """How far a partition has been processed.

    Attributes:
        offset: the next offset.
        checkpoint: committed with the offset; None: it is not known how far back the windows reach.
        clock: stream time at that offset, ms, if the rebuild cannot start at the checkpoint.
        windows: whether messages before the offset belong in windows.
    """

    offset: int
    checkpoint: Checkpoint | None = None
    clock: int | None = None
    windows: bool = True


class StartOffsets:
    """Looks up where partitions start.

    Args:
        consumer: of the group.
        admin: looks up the ends of topics.
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        metrics: counts recovered positions and recreated topics.
        margin: how many offsets before the newest outcome to start if the committed offset is gone.
        beat: called regularly while outputs are read.
    """

    def __init__(
        self,
        consumer: Consumer,
        admin: AdminClient,
        config: dict[str, Any],
        pipeline: Pipeline,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
        margin: int,
        beat: Callable[[], None],
    ) -> None:
        self._consumer, self._admin, self._config, self._pipeline = consumer, admin, config, pipeline
        self._writer_schema_of, self._metrics, self._margin = writer_schema_of, metrics, margin
        self._topic, self._beat = pipeline.input.topic, beat

    def of(self, partitions: list[int], topics: Mapping[str, Identity], span_ms: int) -> dict[int, Start | str]:
        """Look up where partitions start.

        Args:
            partitions: the partitions.
            topics: the pipeline's topics that exist, among them the input.
            span_ms: how far back the model's windows reach.

        Returns:
            By partition, its start, or a text why it cannot be taken over now.
        """
        found: dict[int, Start | str] = {n: lack for n in partitions if (lack := self._lack(n, topics))}
        partitions = [n for n in partitions if n not in found]
        if not partitions:
            return found
        try:
            return found | self._starts(partitions, topics[self._topic].topic_id, span_ms)
        except KafkaException as error:
            hangs = error.args[0].code() == KafkaError._TIMED_OUT  # noqa: SLF001 - librdkafka's name
            hint = (
                "; if that lasts while the broker is up, a transaction hangs: see docs/operations.md" if hangs else ""
            )
            return found | dict.fromkeys(partitions, f"broker: {error_text(error, self._admin)}{hint}")
        except (DependencyDownError, UserError) as down:
            # For example, an output was deleted meanwhile. Partitions with a reason above keep it.
            return found | dict.fromkeys(partitions, str(down))

    def _lack(self, partition: int, topics: Mapping[str, Identity]) -> str | None:
        """Which outputs lack this partition, and the commands that add it."""
        count = topics[self._topic].partitions
        lacking = {t: i.partitions for t, i in topics.items() if i.partitions <= partition}
        if not lacking:
            return None
        return (
            f"{self._topic} has {count} partitions, and "
            + ", ".join(f"{topic} has {partitions}" for topic, partitions in lacking.items())
            + f". Add the missing ones; then it goes on by itself: `{command_to_add(count)}`"
        )

    def _starts(self, partitions: list[int], topic_id: str, span_ms: int) -> dict[int, Start | str]:
        # Uncommitted ends, because a predecessor's transaction may still be ending. They are looked up after the
        # offsets, so that all records that were committed with the offsets are before the ends.
        places = [TopicPartition(self._topic, n) for n in partitions]
        committed = self._consumer.committed(places, timeout=_TIMEOUT_S)
        ends, unknown = partition_ends(self._admin, self._pipeline, partitions)
        found: dict[int, Start | str] = {**unknown}
        processed_to: dict[int, _Processed | str] = {}
        gone: dict[int, Span] = {}
        for place in committed:
            partition = place.partition
            if partition not in ends:
                continue
            processed = self._committed(place, ends[partition], topic_id, span_ms)
            if processed is None:
                gone[partition] = Span(ends[partition].low, ends[partition].high)
            else:
                processed_to[partition] = processed
        processed_to |= self._recovered(gone, topic_id)
        since = self._since({n: s.clock for n, s in processed_to.items() if not isinstance(s, str)}, span_ms)
        for partition, processed in processed_to.items():
            reach = since.get(partition)
            if isinstance(processed, str):
                found[partition] = processed
            elif isinstance(reach, KafkaException):
                found[partition] = f"broker: {error_text(reach)}"
            else:
                start = _start(partition, processed, ends[partition], reach, span_ms)
                found[partition] = start._replace(recovered=partition in gone and processed.windows)
                if processed.checkpoint:
                    start.partition.states_id = processed.checkpoint.states_id
                    start.partition.window_state_id = processed.checkpoint.window_state_id
        return found

    def _committed(
        self, place: TopicPartition, ends: PartitionEnds, topic_id: str, span_ms: int
    ) -> _Processed | str | None:
        """How far a partition was processed by its committed offset; None if there is no such offset."""
        partition = place.partition
        if place.error:
            return f"broker: {error_text(place.error)}"
        if place.offset < 0:
            return None
        checkpoint = Checkpoint.load(place.metadata)
        if checkpoint and checkpoint.topic_id and topic_id and checkpoint.topic_id != topic_id:
            return self._beginning(partition, "the committed offset is of a topic of this name that is no more")
        if place.offset > ends.high:
            # Right after a failover, the end of the new leader may be too low for a moment. Then this resolves itself.
            return (
                f"the group's offset {place.offset} lies beyond the end of {self._topic}/{partition} ({ends.high}): "
                f"records were lost. If so, {self._decide(partition)}"
            )
        shorter = checkpoint is not None and checkpoint.span_ms < span_ms
        return _Processed(place.offset, checkpoint, checkpoint.clock if checkpoint and shorter else None)

    def _recovered(self, gone: Mapping[int, Span], topic_id: str) -> dict[int, _Processed | str]:
        """How far partitions without a committed offset were processed."""
        if not gone:
            return {}
        places = recovered_places(
            self._config, self._pipeline, self._writer_schema_of, topic_id, gone, self._margin, self._beat
        )
        return {partition: self._recovered_place(partition, place) for partition, place in places.items()}

    def _recovered_place(self, partition: int, place: Place | str) -> _Processed | str:
        if isinstance(place, str):
            return (
                f"the group has no offset of {self._topic}/{partition}, and the outputs cannot tell how far it was "
                f"processed: {place}. To decide, {self._decide(partition)}"
            )
        if place.former_topic:
            return self._beginning(partition, "all outputs are of a topic of this name that is no more")
        if place.offset is None:
            return _Processed(0, windows=False)
        self._metrics.places_recovered.inc()
        _LOG.warning(
            "the committed offset is gone; the partition continues after its newest outcome in the outputs",
            partition=partition,
            offset=place.offset,
        )
        return _Processed(place.offset, clock=place.clock)

    def _beginning(self, partition: int, reason: str) -> _Processed:
        _LOG.error(
            "the input topic was deleted and created again: starting at its beginning",
            partition=partition,
            reason=reason,
        )
        return _Processed(0, windows=False)

    def _decide(self, partition: int) -> str:
        return (
            "stop the workers, set the offset with `kafka-consumer-groups.sh --bootstrap-server BROKER --group GROUP "
            f"--topic {self._topic}:{partition} --reset-offsets --to-offset OFFSET --execute` and start them again"
        )

    def _since(self, clocks: Mapping[int, int | None], span_ms: int) -> dict[int, Any]:
        """By partition that has a clock, the first offset that its rebuild needs; -1: all records are older."""
        specs = {
            TopicPartition(self._topic, partition): OffsetSpec.for_timestamp(
                rebuild_since_ms(clock, span_ms, self._pipeline)
            )
            for partition, clock in clocks.items()
            if clock is not None
        }
        return {partition: offset for (_, partition), offset in offsets_of(self._admin, specs).items()}


def rebuild_since_ms(clock: int, span_ms: int, pipeline: Pipeline) -> int:
    """Kafka timestamp of the first record that a rebuild of windows needs, ms.

    No reading is further ahead of its Kafka timestamp than `max_future_ms`. So records with an earlier timestamp are
    older than the two spans of stream time that matter, and stream time can restart with the rebuild.

    Args:
        clock: stream time from which on the windows must be exact, ms.
        span_ms: how far back windows reach.
        pipeline: says how far ahead of its Kafka timestamp a reading may be.
    """
    return max(clock - REBUILD_SPANS * span_ms - pipeline.input.max_future_ms, 0)


def _start(number: int, processed: _Processed, ends: PartitionEnds, reach: int | None, span_ms: int) -> Start:
    """reach: where the rebuild starts, if `processed` has a clock; -1: all records are older."""
    low, states = ends.low, ends.states
    lost, live_from, checkpoint = max(low - processed.offset, 0), max(processed.offset, low), processed.checkpoint
    if not processed.windows or span_ms == 0:
        clock, lost = checkpoint.clock if checkpoint else NEVER, lost if processed.windows else 0
        return Start(Partition(number, live_from, live_from, clock), states, lost, incomplete=False)
    if reach is not None:
        start = max(min(reach, live_from) if reach >= 0 else live_from, low)
        # If offset 0 still exists, the rebuild is complete.
        return Start(Partition(number, start, live_from), states, lost, incomplete=start == low > 0)
    if checkpoint is None:
        # Another tool committed the offset, so it is not known how far back the windows reach: replay the whole log.
        return Start(Partition(number, low, live_from), states, lost, incomplete=False)
    partition = Partition(number, max(checkpoint.rebuild_from, low), live_from, checkpoint.clock)
    return Start(partition, states, lost, incomplete=checkpoint.rebuild_from < low)
