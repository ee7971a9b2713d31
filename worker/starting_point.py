"""Where newly assigned partitions start: committed offsets and checkpoints, against what the log still has."""

from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from worker.kafka_config import error_text
from worker.partition import Checkpoint, Partition
from worker.pipeline import Pipeline

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
    consumer: Consumer, admin: AdminClient, pipeline: Pipeline, numbers: list[int]
) -> dict[int, Start | str]:
    """Look up where partitions start.

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
        first, end = (_offsets(admin, places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
    except KafkaException as error:
        return dict.fromkeys(numbers, f"broker: {error_text(error)}")
    found: dict[int, Start | str] = {}
    for number, offset in zip(numbers, committed, strict=True):
        bounds = [first[topic, number], end[topic, number], first[states, number], end[states, number]]
        failed = [offset.error] if offset.error else [b for b in bounds if isinstance(b, KafkaException)]
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
        found[number] = _start(number, offset, low, range(states_low, states_high))
    return found


def _offsets(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], Any]:
    """Offset of each place, or the exception that the broker answered with."""
    asked = admin.list_offsets(
        dict.fromkeys(places, spec), isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
    )
    return {
        (place.topic, place.partition): future.exception() or future.result().offset for place, future in asked.items()
    }


def _start(number: int, committed: TopicPartition, low: int, alarm_states: range) -> Start:
    if committed.offset < 0:
        return Start(Partition(number, low, low), alarm_states, 0, incomplete=False)
    lost, live_from = max(low - committed.offset, 0), max(committed.offset, low)
    checkpoint = Checkpoint.load(committed.metadata)
    if checkpoint is None:
        # Committed by another tool: no telling how far back the windows reach, so all that is left is read.
        return Start(Partition(number, low, live_from), alarm_states, lost, incomplete=False)
    partition = Partition(number, max(checkpoint.rebuild_from, low), live_from, checkpoint.clock)
    return Start(partition, alarm_states, lost, incomplete=checkpoint.rebuild_from < low)
