"""Creates the topics that a pipeline needs, and checks their settings."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from common.errors import DependencyDownError, UserError
from worker.config.pipeline import Pipeline
from worker.config.roles import ROLES
from worker.config.topic_rules import BROKER_DEFAULT_MAX_BYTES, SETTINGS_OF_ALL
from worker.kafka.client_config import error_text, is_mock, topic_partitions
from worker.kafka.more_partitions import command_to_add
from worker.kafka.permissions import denied_of
from worker.kafka.records import HEADER_ALLOWANCE
from worker.kafka.topic_policy import USUAL_REBUILD_MS, violations

_TIMEOUT_S = 15.0
_KNOWN_AFTER_S = 5.0
_UNREACHED = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001 - librdkafka's names


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
    _await_metadata(admin, futures.keys())
    return sorted(missing.values())


def _await_metadata(admin: AdminClient, topics: Collection[str]) -> None:
    """Wait until the broker knows the topics: it may deny for a moment that there is what the controller has created.

    They stay unknown to a user who may not describe them, so this gives up after a while.
    """
    await_all = Retrying(
        retry=retry_if_result(lambda there: not there),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(_KNOWN_AFTER_S),
        retry_error_callback=lambda _: None,
    )
    await_all(lambda: topic_partitions(admin, _TIMEOUT_S).keys() >= set(topics))


def check_topics(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """The problems with the topics, each with its remedy.

    Raises:
        DependencyDownError: no broker answers.
    """
    return [*unfit_topics(admin, pipeline), *short_topics(admin, pipeline)]


def unfit_topics(admin: AdminClient, pipeline: Pipeline, rebuild_ms: int = USUAL_REBUILD_MS) -> list[str]:
    """Problems that prevent a start: missing topics, and settings that break a guarantee.

    Args:
        admin: asks the broker.
        pipeline: names the topics.
        rebuild_ms: how far back a rebuild of the model's windows reads.

    Raises:
        DependencyDownError: no broker answers.
    """
    held = topic_partitions(admin)
    if missing := sorted(t for t in pipeline.topics.values() if t not in held):
        return [f"missing topics: {', '.join(missing)}; run `hazardstream topics create`"]
    settings = topic_settings(admin, pipeline.topics.values())
    return [text for breaks, text in _violations(admin, pipeline, settings, rebuild_ms) if breaks]


def require_fit_topics(admin: AdminClient, pipeline: Pipeline, rebuild_ms: int) -> None:
    """Check that nothing prevents a start; arguments as of `unfit_topics`.

    Raises:
        DependencyDownError: something does, or no broker answers.
    """
    if faults := unfit_topics(admin, pipeline, rebuild_ms):
        raise DependencyDownError("topics", "; ".join(faults))


def short_topics(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """Output topics with fewer partitions than the input. Only the partitions that they lack are not scored.

    Raises:
        DependencyDownError: no broker answers.
    """
    held, source = topic_partitions(admin), pipeline.input.topic
    count = held.get(source, 0)
    return [
        f"{topic} has {held[topic]} partitions and {source} has {count}, so partitions {held[topic]} to {count - 1} "
        f"are not scored; `{command_to_add(count)}`"
        for topic in pipeline.topics.values()
        if held.get(topic, count) < count
    ]


def _violations(
    admin: AdminClient, pipeline: Pipeline, settings: Mapping[str, Mapping[str, Any]], rebuild_ms: int
) -> Iterator[tuple[bool, str]]:
    replicas = _replicas(admin, [topic for topic in pipeline.topics.values() if settings[topic]])
    for role, topic in pipeline.topics.items():
        if not settings[topic]:
            unknown = (
                "the broker does not report its settings (with ACLs, allow DescribeConfigs), so they are not checked"
            )
            yield False, f"{topic}: {unknown}; docs/operations.md lists what they must be"
            continue
        yield from violations(role, topic, settings[topic], replicas[topic], rebuild_ms)


def _replicas(admin: AdminClient, topics: Sequence[str]) -> dict[str, int]:
    """The smallest number of replicas that a partition of each topic has."""
    found = {}
    asked = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_TIMEOUT_S) if topics else {}
    for topic, future in asked.items():
        try:
            partitions = future.result().partitions
        except KafkaException as error:
            raise DependencyDownError("broker", f"{topic}: {error_text(error, admin)}") from error
        found[topic] = min((len(partition.replicas) for partition in partitions), default=1)
    return found


def warnings(admin: AdminClient, pipeline: Pipeline) -> list[str]:
    """Settings that work but should be improved, each with its remedy."""
    settings, topics = topic_settings(admin, pipeline.topics.values()), pipeline.topics
    largest, limit = (
        int(settings[topics[role]].get("max.message.bytes") or BROKER_DEFAULT_MAX_BYTES)
        for role in ("input", "dead_letters")
    )
    found = [text for breaks, text in _violations(admin, pipeline, settings, USUAL_REBUILD_MS) if not breaks]
    if limit < largest + HEADER_ALLOWANCE:
        found.append(
            f"{pipeline.topics['dead_letters']} accepts smaller records than {pipeline.input.topic}, so the "
            f"largest dead letters would keep only their address; set its max.message.bytes to at least "
            f"{largest + HEADER_ALLOWANCE}"
        )
    return found


def topic_settings(admin: AdminClient, topics: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Each topic's configuration; empty if the broker does not report it (no permission, or a reduced Kafka).

    Raises:
        DependencyDownError: no broker answers.
    """
    found: dict[str, dict[str, Any]] = {topic: {} for topic in topics}
    if not found or is_mock(admin, _TIMEOUT_S):
        return found
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in found]
    for resource, future in admin.describe_configs(resources, request_timeout=_TIMEOUT_S).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            if error.args[0].code() in _UNREACHED:
                raise DependencyDownError("broker", error_text(error, admin)) from error
    return found
