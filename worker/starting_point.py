"""Where newly assigned partitions start: committed offsets and checkpoints, against what the log still has."""

from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from worker.kafka_config import error_text
from worker.partition import Checkpoint, Partition
from worker.pipeline import Pipeline
from worker.state import REBUILD_SPANS

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


def starting_points(
    consumer: Consumer, admin: AdminClient, pipeline: Pipeline, span_ms: int, numbers: list[int]
) -> dict[int, Start | str]:
    """Look up where partitions start.

    Args:
        consumer: of the group.
        admin: asks for the ends of topics.
        pipeline: names the topics.
        span_ms: how far back the model's windows reach.
        numbers: of the partitions.

    Returns:
        By partition number, its start, or in words why it cannot be taken over now.
    """
    topic, states = pipeline.input.topic, pipeline.outputs.alarm_state.topic
    try:
        # The ends as they stand whether committed or not: a predecessor's transaction may still be ending.
        # They are asked for after the offsets, so that whatever was committed with these lies before them.
        committed = consumer.committed([TopicPartition(topic, n) for n in numbers], timeout=_TIMEOUT_S)
        for name in (topic, states):
            # The admin client would go on with the leader epochs it knows, which a restarted broker refuses.
            admin.list_topics(name, timeout=_TIMEOUT_S)
        places = [TopicPartition(name, n) for name in (topic, states) for n in numbers]
        first, end = (
            _offsets(admin, dict.fromkeys(places, spec)) for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
        )
        since = _offsets(
            admin,
            {
                TopicPartition(topic, place.partition): OffsetSpec.for_timestamp(
                    rebuild_since_ms(checkpoint.clock, span_ms, pipeline)
                )
                for place in committed
                if (checkpoint := Checkpoint.load(place.metadata)) and checkpoint.span_ms < span_ms
            },
        )
    except KafkaException as error:
        hangs = error.args[0].code() == KafkaError._TIMED_OUT  # noqa: SLF001 - librdkafka's name
        hint = "; if that lasts while the broker is up, a transaction hangs: see docs/operations.md" if hangs else ""
        return dict.fromkeys(numbers, f"broker: {error_text(error, admin)}{hint}")
    found: dict[int, Start | str] = {}
    for number, offset in zip(numbers, committed, strict=True):
        reach = since.get((topic, number))
        bounds = [first[topic, number], end[topic, number], first[states, number], end[states, number]]
        failed = [offset.error] if offset.error else [b for b in (*bounds, reach) if isinstance(b, KafkaException)]
        if failed:
            found[number] = f"broker: {error_text(failed[0])}"
            continue
        low, high, states_low, states_high = bounds
        if min(low, high, states_low, states_high) < 0:
            found[number] = f"broker: the ends of {topic}/{number} are not known yet"
            continue
        if offset.offset > high:
            # Right after a failover the new leader's end may lag behind for a moment; then this passes by itself.
            found[number] = (
                f"the group's offset {offset.offset} lies beyond the end of {topic}/{number} ({high}): records were "
                "lost, or the topic was made anew. If so, stop the workers and set the group's offsets with "
                "kafka-consumer-groups --reset-offsets"
            )
            continue
        found[number] = _start(number, offset, low, range(states_low, states_high), reach)
    return found


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


def _start(number: int, committed: TopicPartition, low: int, alarm_states: range, reach: int | None) -> Start:
    """reach: from where to rebuild, where what is committed was meant for shorter windows; -1: nothing is so new."""
    if committed.offset < 0:
        return Start(Partition(number, low, low), alarm_states, 0, incomplete=False)
    lost, live_from = max(low - committed.offset, 0), max(committed.offset, low)
    checkpoint = Checkpoint.load(committed.metadata)
    if checkpoint is None:
        # Committed by another tool: no telling how far back the windows reach, so all that is left is read.
        return Start(Partition(number, low, live_from), alarm_states, lost, incomplete=False)
    if reach is not None:
        start = max(min(reach, live_from) if reach >= 0 else live_from, low)
        # The oldest record there is may be the oldest there was.
        return Start(Partition(number, start, live_from), alarm_states, lost, incomplete=start == low > 0)
    partition = Partition(number, max(checkpoint.rebuild_from, low), live_from, checkpoint.clock)
    return Start(partition, alarm_states, lost, incomplete=checkpoint.rebuild_from < low)
