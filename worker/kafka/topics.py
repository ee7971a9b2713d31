"""Creates the topics that a pipeline needs, and checks their settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from common.errors import DependencyDownError, UserError
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text, topic_partitions
from worker.kafka.permissions import denied_of
from worker.kafka.records import HEADER_ALLOWANCE
from worker.kafka.topic_policy import violations
from worker.kafka.topic_roles import BROKER_DEFAULT_MAX_BYTES, ROLES, SETTINGS_OF_ALL

_TIMEOUT_S = 15.0


def create_topics(
    admin: AdminClient,
    pipeline: Pipeline,
    *,
    partitions: int,
    replication_factor: int,
    config: Mapping[str, Any] | None = None,
) -> list[str]:
    """Create the topics that are missing, and return their names.

    Args:
        admin: creates them.
        pipeline: names them.
        partitions: of each, if the input topic does not exist yet.
        replication_factor: of each.
        config: the client's properties, to name a missing ACL.

    Raises:
        DependencyDownError: no broker answers.
        UserError: the broker refuses one.
    """
    held = topic_partitions(admin, _TIMEOUT_S)
    missing = {role: topic for role, topic in pipeline.topics.items() if topic not in held}
    # Outputs have as many partitions as the input.
    partitions = held.get(pipeline.input.topic, partitions)
    new = [
        NewTopic(t, partitions, replication_factor, config=SETTINGS_OF_ALL | dict(ROLES[role].settings))
        for role, t in missing.items()
    ]
    futures = admin.create_topics(new, operation_timeout=_TIMEOUT_S) if new else {}
    for topic, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                denied = denied_of(error, config or {}, "topic", topic, "Create", "Describe") if config else None
                why = denied or error_text(error, admin)
                raise UserError(f"topic {topic} could not be created: {why}") from error
    return sorted(missing.values())


def check_topics(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """The problems with the topics, each with its remedy.

    Raises:
        DependencyDownError: no broker answers.
    """
    return [*unfit_topics(admin, pipeline), *short_topics(admin, pipeline)]


def unfit_topics(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """Problems that prevent a start: missing topics, and settings that break a guarantee.

    Raises:
        DependencyDownError: no broker answers.
    """
    held = topic_partitions(admin)
    if missing := sorted(t for t in pipeline.topics.values() if t not in held):
        return [f"missing topics: {', '.join(missing)}; run `hazardstream topics create`"]
    return [text for breaks, text in _violations(admin, pipeline) if breaks]


def short_topics(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """Output topics with fewer partitions than the input. Only the partitions that they lack are not scored.

    Raises:
        DependencyDownError: no broker answers.
    """
    held, source = topic_partitions(admin), pipeline.input.topic
    count = held.get(source, 0)
    return [
        f"{topic} has {held[topic]} partitions and {source} has {count}, so partitions {held[topic]} to {count - 1} "
        f"are not scored; `{add_partitions(topic, count)}`"
        for topic in pipeline.topics.values()
        if held.get(topic, count) < count
    ]


def _violations(admin: AdminClient, pipeline: Pipeline) -> Iterator[tuple[bool, str]]:
    for role, topic in pipeline.topics.items():
        settings = topic_settings(admin, topic)
        if not settings:
            unknown = (
                "the broker does not report its settings (with ACLs, allow DescribeConfigs), so they are not checked"
            )
            yield False, f"{topic}: {unknown}; docs/operations.md lists what they must be"
            continue
        try:
            asked = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
            partitions = asked[topic].result().partitions
        except KafkaException as error:
            raise DependencyDownError("broker", f"{topic}: {error_text(error, admin)}") from error
        replicas = min((len(partition.replicas) for partition in partitions), default=1)
        yield from violations(role, topic, settings, replicas)


def dead_letter_limit(admin: AdminClient, pipeline: Pipeline) -> int:
    """The largest record that the dead-letter topic accepts, bytes."""
    configured = topic_settings(admin, pipeline.topics["dead_letters"]).get("max.message.bytes")
    return int(configured or BROKER_DEFAULT_MAX_BYTES)


def warnings(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """Settings that work but should be improved, each with its remedy."""
    source = topic_settings(admin, pipeline.input.topic)
    largest = int(source.get("max.message.bytes", BROKER_DEFAULT_MAX_BYTES))
    found = [text for breaks, text in _violations(admin, pipeline) if not breaks]
    if dead_letter_limit(admin, pipeline) < largest + HEADER_ALLOWANCE:
        found.append(
            f"{pipeline.topics['dead_letters']} accepts smaller records than {pipeline.input.topic}, so the "
            f"largest dead letters would keep only their address; set its max.message.bytes to at least "
            f"{largest + HEADER_ALLOWANCE}"
        )
    return found


def topic_settings(admin: AdminClient, topic: str) -> dict[str, Any]:
    """A topic's configuration; empty if the broker does not report it (no permission, or a reduced Kafka)."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        # The client library's mock cluster (demo without Kafka's jars) never answers this request.
        if (admin.list_topics(timeout=_TIMEOUT_S).cluster_id or "").startswith("mockCluster"):
            return {}
        entries = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)[resource].result()
    except KafkaException as error:
        if error.args[0].code() in {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}:  # noqa: SLF001 - librdkafka's names
            raise DependencyDownError("broker", error_text(error, admin)) from error
        return {}
    return {name: entry.value for name, entry in entries.items()}


def add_partitions(topic: str, count: int) -> str:
    """The command that raises a topic to `count` partitions."""
    return f"kafka-topics.sh --bootstrap-server BROKER --alter --topic {topic} --partitions {count}"
