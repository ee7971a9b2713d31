"""Creates Kafka clients from the user's properties and our own.

`KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_*` and `KAFKA_SSL_*` become the properties of the same name in lower case with
dots (`KAFKA_SASL_MECHANISM` -> `sasl.mechanism`). A name that ends in `_FILE` gives the path of a file with the value,
so that secrets stay out of the environment. `KAFKA_CONFIG_FILE` names a file of `name=value` lines with any other
properties. The user's properties override our defaults; those that our guarantees need cannot be changed.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from common.environment import variable
from common.errors import DependencyDownError, UserError
from worker.kafka.client_reports import ClientReports
from worker.kafka.client_settings import Kind, check_bootstrap, given_properties, of_kind, refusal, usual

T = TypeVar("T")
DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
_LOGGER = logging.getLogger("librdkafka")
_NONE: Mapping[str, Any] = MappingProxyType({})
# Errors without a cause. The client's reports have it.
_VAGUE = {
    KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's names, here and below
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._NODE_UPDATE,  # noqa: SLF001
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError._SSL,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
}


_REMEDIES = {
    KafkaError.OFFSET_METADATA_TOO_LARGE: "set offset.metadata.max.bytes of the brokers to 4096, as it is by default",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "set HAZARDSTREAM_TRANSACTION_TIMEOUT_MS to no more than transaction.max.timeout.ms of the brokers"
    ),
    KafkaError.INVALID_TIMESTAMP: (
        "correct this machine's clock, or set message.timestamp.type=LogAppendTime on the topic"
    ),
}


def client_config(bootstrap: str | None = None) -> dict[str, Any]:
    """The properties that all Kafka clients have in common.

    Raises:
        UserError: a file that the environment names cannot be read, or holds an invalid property.
    """
    given: dict[str, Any] = dict(given_properties())
    # An address from the environment or an option overrides the file; our default does not.
    of_file = given.pop("bootstrap.servers", None)
    chosen = bootstrap if bootstrap not in {None, DEFAULT_BOOTSTRAP} else variable("KAFKA_BOOTSTRAP_SERVERS")
    return {
        "bootstrap.servers": check_bootstrap(chosen or of_file or bootstrap or DEFAULT_BOOTSTRAP),
        "client.id": "hazardstream",
        # Find returning brokers and new partitions within seconds.
        "reconnect.backoff.max.ms": 2000,
        "topic.metadata.refresh.interval.ms": 5000,
        # Otherwise a client that lost all brokers forgets them, and a transaction may wait forever (librdkafka's issue
        # 5511).
        "metadata.recovery.strategy": "none",
        "logger": _LOGGER,
        # A metadata request must not create a topic with the broker's default settings. Admin clients and producers do
        # that by default.
        "allow.auto.create.topics": False,
    } | given


class ReportingConsumer(Consumer):  # type: ignore[misc]  # the client has no annotations
    """A consumer with its reports."""

    reports: ClientReports


class ReportingProducer(Producer):  # type: ignore[misc]  # the client has no annotations
    """A producer with its reports."""

    reports: ClientReports


class ReportingAdmin(AdminClient):  # type: ignore[misc]  # the client has no annotations
    """An admin client with its reports."""

    reports: ClientReports


def admin_client(config: Mapping[str, Any]) -> ReportingAdmin:
    """An admin client.

    Raises:
        UserError: librdkafka refuses a property.
    """
    return _made(ReportingAdmin, "admin", config, _NONE, _NONE)


def consumer(
    config: Mapping[str, Any], fixed: Mapping[str, Any] = _NONE, defaults: Mapping[str, Any] = _NONE
) -> ReportingConsumer:
    """A consumer.

    Args:
        config: see `client_config`.
        fixed: properties that the user cannot override.
        defaults: properties that the user can override.

    Raises:
        UserError: librdkafka refuses a property.
    """
    return _made(ReportingConsumer, "consumer", config, fixed, defaults)


def producer(
    config: Mapping[str, Any], fixed: Mapping[str, Any] = _NONE, defaults: Mapping[str, Any] = _NONE
) -> ReportingProducer:
    """A producer; arguments and errors as for `consumer`."""
    return _made(ReportingProducer, "producer", config, fixed, defaults)


def _made(
    client: Callable[[dict[str, Any]], T],
    kind: Kind,
    config: Mapping[str, Any],
    fixed: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> T:
    ours, theirs, always = (
        {usual(name): value for name, value in each.items()} for each in (defaults, of_kind(config, kind), fixed)
    )
    merged = ours | theirs | always
    merged.pop("logger", None)
    listener = merged.pop("error_cb", None)
    reports = ClientReports(merged)
    reports.listen(errors=listener)
    try:
        made = client(merged | reports.properties(errors=kind != "producer" or listener is not None))
    except (KafkaException, ValueError, TypeError) as error:
        raise UserError(f"Kafka settings: {refusal(error_text(error), merged)}") from error
    made.reports = reports  # type: ignore[attr-defined]  # all of the classes above have it
    return made


def topic_partitions(admin: AdminClient, timeout_s: float = 5.0) -> dict[str, int]:
    """The number of partitions of every topic.

    Raises:
        DependencyDownError: no broker answers.
    """
    return {name: len(topic.partitions) for name, topic in _metadata(admin, timeout_s).topics.items()}


def is_mock(admin: AdminClient, timeout_s: float = 5.0) -> bool:
    """Whether the broker is the client library's mock cluster, which the demo uses if there are no jars of Kafka.

    The mock never answers a request for settings, descriptions or permissions of topics.

    Raises:
        DependencyDownError: no broker answers.
    """
    return (_metadata(admin, timeout_s).cluster_id or "").startswith("mockCluster")


def _metadata(admin: AdminClient, timeout_s: float) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise DependencyDownError("broker", error_text(error, admin)) from error


def error_text(error: BaseException, client: object = None) -> str:
    """The text of a librdkafka error, with a remedy if one is known.

    Args:
        error: that was raised.
        client: the client that raised it. Its reports give the cause if the error does not.
    """
    cause = error.args[0] if error.args else error
    text = str(cause.str()) if hasattr(cause, "str") else str(cause)
    code = cause.code() if isinstance(cause, KafkaError) else None
    if code in _REMEDIES:
        return f"{text}: {_REMEDIES[code]}"
    reports = getattr(client, "reports", None)
    if reports is None or code not in _VAGUE:
        return text
    if not isinstance(client, Consumer):
        client.poll(0)  # type: ignore[attr-defined]  # delivers the reports; a consumer's loop polls it anyway
    reason = reports.reason()
    if reason is None:
        return text
    # "Broker transport failure" adds nothing to the reported cause.
    return reason if code == KafkaError._TRANSPORT else f"{text}: {reason}"  # noqa: SLF001
