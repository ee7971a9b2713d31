"""Where newly assigned partitions start: committed offsets and checkpoints, against what the log still has."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from common.errors import DependencyDownError, UserError
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text
from worker.kafka.topic_identity import Identity
from worker.kafka.topic_reader import Span
from worker.kafka.topics import add_partitions
from worker.observe.metrics import Metrics
from worker.recover.recovered_place import Place, recovered_places
from worker.score.decode import WriterSchemaOf
from worker.windows.keyed_state import REBUILD_SPANS
from worker.windows.partition import Checkpoint, Partition

_LOG = structlog.get_logger(__name__)
_TIMEOUT_S = 5.0


class Start(NamedTuple):
    """A partition as it is taken over.

    Attributes:
        partition: where it starts.
        alarm_states: offsets of the alarm-state topic to be read back for it.
        lost: how many offsets retention deleted before anybody of the group came to them.
        incomplete: whether the log no longer reaches back far enough for a full rebuild.
    """

    partition: Partition
    alarm_states: range
    lost: int
    incomplete: bool


class _Ends(NamedTuple):
    """First offsets and ends of an input partition and of its alarm states."""

    low: int
    high: int
    states_low: int
    states_high: int


class _Standing(NamedTuple):
    """How far a partition has been processed.

    Attributes:
        offset: the next one.
        checkpoint: committed with it; None: there is none that says how far back the windows reach.
        clock: stream time there, ms, where the rebuild has to begin further back than at the checkpoint.
        windows: whether anything before it belongs to the windows.
    """

    offset: int
    checkpoint: Checkpoint | None = None
    clock: int | None = None
    windows: bool = True


class StartOffsets:
    """Looks up where partitions start.

    Args:
        consumer: of the group.
        admin: asks for the ends of topics.
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        metrics: count what was found again, and topics that were created again.
        margin: offsets by which to stay behind the newest outcome where the committed offset is gone.
        beat: called now and then while outputs are read.
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

    def of(self, numbers: list[int], topics: Mapping[str, Identity], span_ms: int) -> dict[int, Start | str]:
        """Look up where partitions start.

        Args:
            numbers: of the partitions.
            topics: the pipeline's topics as they were found before this call, the input among them.
            span_ms: how far back the model's windows reach.

        Returns:
            By partition number, its start, or in words why it cannot be taken over now.
        """
        found: dict[int, Start | str] = {n: lack for n in numbers if (lack := self._lack(n, topics))}
        numbers = [n for n in numbers if n not in found]
        if not numbers:
            return found
        try:
            return found | self._starts(numbers, topics[self._topic].topic_id, span_ms)
        except KafkaException as error:
            hangs = error.args[0].code() == KafkaError._TIMED_OUT  # noqa: SLF001 - librdkafka's name
            hint = (
                "; if that lasts while the broker is up, a transaction hangs: see docs/operations.md" if hangs else ""
            )
            return found | dict.fromkeys(numbers, f"broker: {error_text(error, self._admin)}{hint}")
        except (DependencyDownError, UserError) as down:
            # Of an output that was deleted meanwhile: others of its partitions may still go on.
            return found | dict.fromkeys(numbers, str(down))

    def _lack(self, number: int, topics: Mapping[str, Identity]) -> str | None:
        """What the outputs lack for a partition, and the commands that cure it."""
        count = topics[self._topic].partitions
        lacking = {t: i.partitions for t, i in topics.items() if i.partitions <= number}
        if not lacking:
            return None
        return (
            f"{self._topic} has {count} partitions, and "
            + ", ".join(f"{topic} has {partitions}" for topic, partitions in lacking.items())
            + ". Add the missing ones; then it goes on by itself: "
            + "; ".join(f"`{add_partitions(topic, count)}`" for topic in lacking)
        )

    def _starts(self, numbers: list[int], topic_id: str, span_ms: int) -> dict[int, Start | str]:
        # The ends as they stand whether committed or not: a predecessor's transaction may still be ending.
        # They are asked for after the offsets, so that whatever was committed with these lies before them.
        places = [TopicPartition(self._topic, n) for n in numbers]
        committed = self._consumer.committed(places, timeout=_TIMEOUT_S)
        ends, found = self._ends(numbers)
        standing: dict[int, _Standing | str] = {}
        gone: dict[int, Span] = {}
        for place in committed:
            number = place.partition
            if number not in ends:
                continue
            stands = self._committed(place, ends[number], topic_id, span_ms)
            if stands is None:
                gone[number] = Span(ends[number].low, ends[number].high)
            else:
                standing[number] = stands
        standing |= self._recovered(gone, topic_id)
        since = self._since({n: s.clock for n, s in standing.items() if not isinstance(s, str)}, span_ms)
        for number, stands in standing.items():
            reach = since.get(number)
            if isinstance(stands, str):
                found[number] = stands
            elif isinstance(reach, KafkaException):
                found[number] = f"broker: {error_text(reach)}"
            else:
                start = found[number] = _start(number, stands, ends[number], reach)
                start.partition.states_id = stands.checkpoint.states_id if stands.checkpoint else ""
        return found

    def _ends(self, numbers: list[int]) -> tuple[dict[int, _Ends], dict[int, Start | str]]:
        """The ends of each partition, or in words why they are not known."""
        names = (self._topic, self._pipeline.outputs.alarm_state.topic)
        for name in names:
            # The admin client would go on with the leader epochs it knows, which a restarted broker refuses.
            self._admin.list_topics(name, timeout=_TIMEOUT_S)
        places = [TopicPartition(name, n) for name in names for n in numbers]
        first = _offsets(self._admin, dict.fromkeys(places, OffsetSpec.earliest()))
        end = _offsets(self._admin, dict.fromkeys(places, OffsetSpec.latest()))
        ends: dict[int, _Ends] = {}
        unknown: dict[int, Start | str] = {}
        for number in numbers:
            bounds = [of[name, number] for name in names for of in (first, end)]
            failed = next((bound for bound in bounds if isinstance(bound, KafkaException)), None)
            if failed is not None:
                unknown[number] = f"broker: {error_text(failed)}"
            elif min(bounds) < 0:
                unknown[number] = f"broker: the ends of {self._topic}/{number} are not known yet"
            else:
                ends[number] = _Ends(*bounds)
        return ends, unknown

    def _committed(self, place: TopicPartition, ends: _Ends, topic_id: str, span_ms: int) -> _Standing | str | None:
        """How far the group says that a partition has been processed; None where it does not say."""
        number = place.partition
        if place.error:
            return f"broker: {error_text(place.error)}"
        if place.offset < 0:
            return None
        checkpoint = Checkpoint.load(place.metadata)
        if checkpoint and checkpoint.topic_id and topic_id and checkpoint.topic_id != topic_id:
            return self._beginning(number, "the committed offset is of a topic of this name that is no more")
        if place.offset > ends.high:
            # Right after a failover the new leader's end may lag behind for a moment; then this passes by itself.
            return (
                f"the group's offset {place.offset} lies beyond the end of {self._topic}/{number} ({ends.high}): "
                f"records were lost. If so, {self._decide(number)}"
            )
        shorter = checkpoint is not None and checkpoint.span_ms < span_ms
        return _Standing(place.offset, checkpoint, checkpoint.clock if checkpoint and shorter else None)

    def _recovered(self, gone: Mapping[int, Span], topic_id: str) -> dict[int, _Standing | str]:
        """Where the partitions stood that have no committed offset."""
        if not gone:
            return {}
        places = recovered_places(
            self._config, self._pipeline, self._writer_schema_of, topic_id, gone, self._margin, self._beat
        )
        return {number: self._recovered_standing(number, place) for number, place in places.items()}

    def _recovered_standing(self, number: int, place: Place | str) -> _Standing | str:
        if isinstance(place, str):
            return (
                f"the group has no offset of {self._topic}/{number}, and the outputs cannot tell how far it was "
                f"processed: {place}. To decide, {self._decide(number)}"
            )
        if place.former_topic:
            return self._beginning(number, "all outputs are of a topic of this name that is no more")
        if place.offset is None:
            return _Standing(0, windows=False)
        self._metrics.places_recovered.inc()
        _LOG.warning(
            "the committed offset is gone; the partition goes on behind its newest outcome in the outputs",
            partition=number,
            offset=place.offset,
        )
        return _Standing(place.offset, clock=place.clock)

    def _beginning(self, number: int, reason: str) -> _Standing:
        _LOG.error(
            "the input topic was deleted and created again: starting at its beginning", partition=number, reason=reason
        )
        return _Standing(0, windows=False)

    def _decide(self, number: int) -> str:
        return (
            "stop the workers, set the offset with `kafka-consumer-groups.sh --bootstrap-server BROKER --group GROUP "
            f"--topic {self._topic}:{number} --reset-offsets --to-offset OFFSET --execute` and start them again"
        )

    def _since(self, clocks: Mapping[int, int | None], span_ms: int) -> dict[int, Any]:
        """First offset that a rebuild needs of each partition that has a clock; -1: none is so new."""
        specs = {
            TopicPartition(self._topic, number): OffsetSpec.for_timestamp(
                rebuild_since_ms(clock, span_ms, self._pipeline)
            )
            for number, clock in clocks.items()
            if clock is not None
        }
        return {number: offset for (_, number), offset in _offsets(self._admin, specs).items()}


def rebuild_since_ms(clock: int, span_ms: int, pipeline: Pipeline) -> int:
    """Kafka timestamp of the first record that a rebuild of windows needs, ms.

    What has an earlier one lies, by the rule against readings from the future, before the two spans of stream time that
    matter; so stream time, which begins anew with the rebuild, is right where it counts.

    Args:
        clock: stream time from which on the windows have to be right, ms.
        span_ms: how far back windows reach.
        pipeline: says how far ahead of its Kafka timestamp a reading may be.
    """
    return max(clock - REBUILD_SPANS * span_ms - pipeline.input.max_future_ms, 0)


def _offsets(admin: AdminClient, asked_for: dict[TopicPartition, OffsetSpec]) -> dict[tuple[str, int], Any]:
    """Offset of each place, or the exception that the broker answered with."""
    if not asked_for:
        return {}
    asked = admin.list_offsets(asked_for, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S)
    return {
        (place.topic, place.partition): future.exception() or future.result().offset for place, future in asked.items()
    }


def _start(number: int, stands: _Standing, ends: _Ends, reach: int | None) -> Start:
    """reach: from where to rebuild, where `stands` has a clock; -1: nothing is so new."""
    low, states = ends.low, range(ends.states_low, ends.states_high)
    lost, live_from, checkpoint = max(low - stands.offset, 0), max(stands.offset, low), stands.checkpoint
    if not stands.windows:
        return Start(Partition(number, live_from, live_from), states, 0, incomplete=False)
    if reach is not None:
        start = max(min(reach, live_from) if reach >= 0 else live_from, low)
        # The oldest record there is may be the oldest there was.
        return Start(Partition(number, start, live_from), states, lost, incomplete=start == low > 0)
    if checkpoint is None:
        # Committed by another tool: no telling how far back the windows reach, so all that is left is read.
        return Start(Partition(number, low, live_from), states, lost, incomplete=False)
    partition = Partition(number, max(checkpoint.rebuild_from, low), live_from, checkpoint.clock)
    return Start(partition, states, lost, incomplete=checkpoint.rebuild_from < low)
