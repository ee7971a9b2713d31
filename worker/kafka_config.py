"""librdkafka properties: where the broker is, and TLS/SASL passed through from the environment.

`KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_*` and `KAFKA_SSL_*` become the properties of the same name in small
letters with dots (`KAFKA_SASL_MECHANISM` -> `sasl.mechanism`). With `_FILE` at the end the value is read from
that file, so that a secret need not stand in the environment. Any other property: a file of `name=value` lines
named by `KAFKA_CONFIG_FILE`.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from worker.environment import variable
from worker.errors import DependencyDownError, UserError
from worker.kafka_environment import read, security_properties

T = TypeVar("T")
_LOGGER = logging.getLogger("librdkafka")


def client_config(bootstrap: str | None = None) -> dict[str, Any]:
    """Properties that every Kafka client of this project starts from.

    Raises:
        UserError: a file that the environment names cannot be read.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap or variable("KAFKA_BOOTSTRAP_SERVERS") or "127.0.0.1:9092",
        "client.id": "hazardstream",
        # A broker that comes back is found within seconds, and so are partitions that are added.
        "reconnect.backoff.max.ms": 2000,
        "topic.metadata.refresh.interval.ms": 5000,
        # Otherwise a client that lost all brokers drops them, and a transaction may wait for one of these for ever
        # (librdkafka's issue 5511).
        "metadata.recovery.strategy": "none",
        "logger": _LOGGER,
    }
    config |= security_properties()
    if path := variable("KAFKA_CONFIG_FILE"):
        lines = [line.strip() for line in read("KAFKA_CONFIG_FILE", path).splitlines()]
        config |= dict(_property(path, line) for line in lines if line and not line.startswith("#"))
    # Asking about a topic must not create it, with the broker's settings instead of ours. Admin clients and producers
    # do that by default where brokers allow it.
    return config | {"allow.auto.create.topics": False}


def _property(path: str, line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        raise UserError(f"{path}: a line without '=' (not shown: it may be a secret); write name=value")
    return name.strip(), value.strip()


def admin_client(config: dict[str, Any]) -> AdminClient:
    """An admin client.

    Raises:
        UserError: librdkafka refuses a property.
    """
    return _made(AdminClient, config)


def consumer(config: dict[str, Any]) -> Consumer:
    """A consumer.

    Raises:
        UserError: librdkafka refuses a property.
    """
    return _made(Consumer, config)


def _made(client: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    try:
        return client(config)
    except (KafkaException, ValueError) as error:
        raise UserError(f"Kafka settings: {error_text(error)}; see KAFKA_* in the environment") from error


def topic_partitions(admin: AdminClient, timeout_s: float = 5.0) -> dict[str, int]:
    """Every topic's number of partitions.

    Raises:
        DependencyDownError: no broker answers.
    """
    try:
        topics = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise DependencyDownError("broker", error_text(error)) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def error_text(error: BaseException) -> str:
    """Librdkafka's own words for an error."""
    cause = error.args[0] if error.args else error
    return str(cause.str()) if hasattr(cause, "str") else str(cause)
