"""Adds partitions to the topics of a pipeline that exist already."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from common.errors import UserError
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text, topic_partitions

_TIMEOUT_S = 15.0
MOVED_KEYS = (
    "a key may be in another partition than before: there its window starts empty and its alarm is not active, and "
    "its older readings stay where they are"
)


def command_to_add(count: int) -> str:
    """The command that raises a pipeline's topics to `count` partitions."""
    return f"hazardstream topics create --partitions {count} --add-partitions"


def refuse_other_counts(held: dict[str, int], wanted: int, *, add: bool) -> None:
    """Check that existing topics have the wanted number of partitions, or may get it.

    Args:
        held: partitions of the topics that exist.
        wanted: number that each should have.
        add: whether partitions may be added.

    Raises:
        UserError: a topic has another number.
    """
    if more := {topic: count for topic, count in held.items() if count > wanted}:
        raise UserError(
            f"{_listed(more)}, not {wanted}, and Kafka takes no partitions away; omit --partitions, or delete the "
            "topics with their records and create them again"
        )
    if not add and (fewer := {topic: count for topic, count in held.items() if count < wanted}):
        raise UserError(
            f"{_listed(fewer)}, not {wanted}; to add partitions: `{command_to_add(wanted)}`. From then on {MOVED_KEYS}"
        )


def _listed(held: dict[str, int]) -> str:
    if len(held) > 1 and len(counts := set(held.values())) == 1:
        return f"{len(held)} topics ({', '.join(sorted(held))}) have {counts.pop()} partitions"
    return ", ".join(f"{topic} has {count} partitions" for topic, count in held.items())


def add_partitions(admin: AdminClient, pipeline: Pipeline, wanted: int) -> dict[str, int]:
    """Raise existing topics to this number of partitions: outputs first, then the input, as workers need it.

    Returns:
        The topics that had fewer, and how many they had.

    Raises:
        UserError: the broker refuses.
        DependencyDownError: no broker answers.
    """
    held = topic_partitions(admin)
    last = pipeline.input.topic
    topics = sorted(pipeline.topics.values(), key=lambda topic: (topic == last, topic))
    fewer = {topic: held[topic] for topic in topics if held.get(topic, wanted) < wanted}
    for topic in fewer:
        try:
            admin.create_partitions([NewPartitions(topic, wanted)], operation_timeout=_TIMEOUT_S)[topic].result()
        except KafkaException as error:
            raise UserError(f"{topic} could not get {wanted} partitions: {error_text(error, admin)}") from error
    known = Retrying(
        retry=retry_if_result(lambda there: not there),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(_TIMEOUT_S),
        retry_error_callback=lambda _: None,
    )
    known(lambda: all(topic_partitions(admin).get(topic, 0) >= wanted for topic in fewer))
    return fewer
