"""For commands that run once: find out within seconds whether a broker answers."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from common.errors import DependencyDownError
from worker.kafka.client_config import admin_client, client_config

_TRIES_S = (1.0, 2.0)
"""The first is enough to try every address of a host. The second is for a slow network, where nothing failed."""


def reachable_config(bootstrap: str | None = None) -> dict[str, Any]:
    """As `client_config`, after a broker has answered.

    A client keeps trying for as long as it lives, which is right for a service, but not for a command that somebody
    waits for.

    Raises:
        UserError: see `client_config`.
        DependencyDownError: no broker answers within 3 s.
    """
    config = client_config(bootstrap)
    asking = admin_client(config)
    codes: list[int] = []
    asking.reports.listen(errors=lambda error: codes.append(error.code()))
    for timeout_s in _TRIES_S:
        try:
            asking.list_topics(timeout=timeout_s)
        except KafkaException:
            asking.poll(0)  # delivers the reports
        else:
            return config
        if KafkaError._ALL_BROKERS_DOWN in codes:  # noqa: SLF001 - librdkafka's name
            break
    raise DependencyDownError(
        "broker",
        asking.reports.reason()
        or f"no answer from {config['bootstrap.servers']} within {sum(_TRIES_S):g} s; start the broker, or give its "
        "address with --bootstrap or KAFKA_BOOTSTRAP_SERVERS (TLS/SASL: KAFKA_*)",
    )
