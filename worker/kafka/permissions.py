"""Finds the ACLs that a client lacks, and the commands that grant them.

A broker reports the allowed operations of a topic only to clients that may describe it. For others, an unauthorised
topic looks like one that does not exist.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from common.errors import DeniedError, DependencyDownError
from worker.config.pipeline import Pipeline
from worker.config.roles import ROLES
from worker.kafka.client_config import error_text, is_mock
from worker.kafka.group_description import describe_group

PERMISSIONS = DeniedError.dependency
"""Name of the dependency that is reported as down if an ACL is missing."""
DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""Codes of the errors about missing ACLs."""

_TIMEOUT_S = 5.0
_OPTIONS = {"topic": "--topic", "group": "--group", "transactional id": "--transactional-id", "cluster": "--cluster"}
_UNREACHED = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001 - librdkafka's names


class Denied(NamedTuple):
    """Operations that a client is not allowed.

    Attributes:
        kind: topic, group, transactional id or cluster.
        name: of the resource.
        operations: as Kafka's documentation spells them.
        hidden: whether the broker does not say if the resource exists.
    """

    kind: str
    name: str
    operations: tuple[str, ...]
    hidden: bool = False

    def text(self, config: Mapping[str, Any]) -> str:
        """What is not allowed, and the command that grants it."""
        who = principal(config)
        named = "--cluster" if self.kind == "cluster" else f"{_OPTIONS[self.kind]} '{self.name}'"
        operations = " ".join(f"--operation {operation}" for operation in self.operations)
        resource = "the cluster" if self.kind == "cluster" else f"{self.kind} {self.name}"
        unsure = " (or it does not exist: the broker does not say)" if self.hidden else ""
        return (
            f"{who} may not {' and '.join(self.operations)} {resource}{unsure}; to grant it, run "
            f"kafka-acls.sh --bootstrap-server {config['bootstrap.servers']} --add --allow-principal '{who}' "
            f"{operations} {named}"
        )


def principal(config: Mapping[str, Any]) -> str:
    """The client's principal, as far as its properties show it."""
    protocol = str(config.get("security.protocol", "PLAINTEXT")).upper()
    if "SASL" in protocol:
        name = config.get("sasl.username") or config.get("sasl.kerberos.principal") or "<this client's name>"
    elif protocol == "SSL" and (config.get("ssl.certificate.location") or config.get("ssl.keystore.location")):
        name = "<this client's certificate's name>"
    else:
        name = "ANONYMOUS"
    return f"User:{name}"


def worker_permissions(admin: AdminClient, config: Mapping[str, Any], pipeline: Pipeline, group_id: str) -> list[str]:
    """The operations that a worker needs and is not allowed, each with the command that grants it.

    Args:
        admin: asks the broker.
        config: the clients' properties.
        pipeline: names the topics.
        group_id: the worker's group.

    Raises:
        DependencyDownError: no broker answers.
    """
    if is_mock(admin, _TIMEOUT_S):
        return []
    needed = {topic: ROLES[role].operations for role, topic in pipeline.topics.items()}
    return [denied.text(config) for denied in [*_topics(admin, needed), *_group(admin, config, group_id)]]


def topic_permissions(
    admin: AdminClient, config: Mapping[str, Any], topics: Iterable[str], operation: str
) -> list[str]:
    """As `worker_permissions`, for one operation on some topics."""
    return [denied.text(config) for denied in _topics(admin, dict.fromkeys(topics, (operation,)))]


def _topics(admin: AdminClient, needed: Mapping[str, tuple[str, ...]]) -> Iterator[Denied]:
    described = admin.describe_topics(
        TopicCollection(list(needed)), include_authorized_operations=True, request_timeout=_TIMEOUT_S
    )
    for topic, future in described.items():
        try:
            operations = future.result().authorized_operations
        except KafkaException as error:
            code = _code(error, admin)
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                yield Denied("topic", topic, needed[topic], hidden=True)
            continue  # other checks report topics that are missing or have no leader
        if lacking := _lacking(needed[topic], operations and [operation.name for operation in operations]):
            yield Denied("topic", topic, lacking)


def _group(admin: AdminClient, config: Mapping[str, Any], group_id: str) -> Iterator[Denied]:
    try:
        allowed = describe_group(config, group_id).operations
    except KafkaException as error:
        if _code(error, admin) == KafkaError.GROUP_AUTHORIZATION_FAILED:
            yield Denied("group", group_id, ("Read",))
        return
    if lacking := _lacking(("Read",), allowed):
        yield Denied("group", group_id, lacking)


def _code(error: KafkaException, admin: AdminClient) -> int:
    code: int = error.args[0].code()
    if code in _UNREACHED:
        raise DependencyDownError("broker", error_text(error, admin)) from error
    return code


def _lacking(needed: tuple[str, ...], allowed: list[str] | None) -> tuple[str, ...]:
    """The needed operations that are not allowed. If the broker does not say (None), all count as allowed."""
    if allowed is None:
        return ()
    names = {operation.replace("_", "").upper() for operation in allowed}
    return tuple(operation for operation in needed if operation.upper() not in names)


def denied_of(error: BaseException, config: Mapping[str, Any], kind: str, name: str, *operations: str) -> str | None:
    """What an exception says is not allowed, with the command that grants it; None if it is another error."""
    cause = error.args[0] if error.args else None
    if not isinstance(cause, KafkaError) or cause.code() not in DENIED:
        return None
    if cause.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        kind, name, operations = "cluster", "kafka-cluster", ("IdempotentWrite",) if kind != "topic" else operations
    return Denied(kind, name, operations).text(config)
