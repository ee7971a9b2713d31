"""The first offsets and ends of partitions of the input, and of the topics that hold their state."""

from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text

_TIMEOUT_S = 5.0
_STATE_ROLES = ("alarm_state", "window_state")


class PartitionEnds(NamedTuple):
    """First offset and end of an input partition, and the offsets of its state, by role."""

    low: int
    high: int
    states: dict[str, range]


def partition_ends(
    admin: AdminClient, pipeline: Pipeline, partitions: list[int]
) -> tuple[dict[int, PartitionEnds], dict[int, str]]:
    """The ends of each partition, and texts why the ends of others are not known.

    The ends are uncommitted ones: a predecessor's transaction may still be ending.

    Raises:
        KafkaException: no broker answers.
    """
    topic, topics = pipeline.input.topic, pipeline.topics
    states = {role: topics[role] for role in _STATE_ROLES if role in topics}
    names = (topic, *states.values())
    for name in names:
        # This refreshes the leader epochs: the admin client would use old ones, which a restarted broker refuses.
        admin.list_topics(name, timeout=_TIMEOUT_S)
    places = [TopicPartition(name, n) for name in names for n in partitions]
    first = offsets_of(admin, dict.fromkeys(places, OffsetSpec.earliest()))
    end = offsets_of(admin, dict.fromkeys(places, OffsetSpec.latest()))
    ends: dict[int, PartitionEnds] = {}
    unknown: dict[int, str] = {}
    for partition in partitions:
        bounds = [of[name, partition] for name in names for of in (first, end)]
        failed = next((bound for bound in bounds if isinstance(bound, KafkaException)), None)
        if failed is not None:
            unknown[partition] = f"broker: {error_text(failed)}"
        elif min(bounds) < 0:
            unknown[partition] = f"broker: the ends of {topic}/{partition} are not known yet"
        else:
            low, high, *others = bounds
            pairs = zip(states, others[::2], others[1::2], strict=True)
            ends[partition] = PartitionEnds(low, high, {role: range(start, stop) for role, start, stop in pairs})
    return ends, unknown


def offsets_of(admin: AdminClient, asked_for: dict[TopicPartition, OffsetSpec]) -> dict[tuple[str, int], Any]:
    """The offset of each place, or the exception that the broker answered."""
    if not asked_for:
        return {}
    asked = admin.list_offsets(asked_for, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S)
    return {
        (place.topic, place.partition): future.exception() or future.result().offset for place, future in asked.items()
    }
