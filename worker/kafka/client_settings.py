"""Reads, checks and sorts the Kafka client properties that the user gives in the environment and in a file."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from common.environment import variable
from common.errors import UserError
from worker.config.kafka_environment import read, security_properties
from worker.kafka.client_property_names import CONSUMER, PRODUCER, SHARED, USUAL_NAMES

Kind: TypeAlias = Literal["consumer", "producer", "admin"]
_FILE = "KAFKA_CONFIG_FILE"
_EXACT = "exactly-once needs it"
_PLACE = "the worker itself commits offsets and chooses where to start"
# Properties that the guarantees depend on, or that have a HAZARDSTREAM_ setting, by the name that Kafka documents.
_REFUSED = {
    "enable.auto.commit": _PLACE,
    "auto.commit.interval.ms": _PLACE,
    "enable.auto.offset.store": _PLACE,
    "auto.offset.reset": _PLACE,
    "enable.partition.eof": "the worker treats the end of a partition as an error",
    "isolation.level": f"{_EXACT}: records of aborted transactions must not be read",
    "check.crcs": "librdkafka 2.16 crashes on a damaged batch, in one worker after the other",
    "enable.idempotence": f"{_EXACT}: a repeated request must not write a record twice",
    "acks": f"{_EXACT}: a record counts as written when all in-sync replicas have it",
    "retries": "a record must not be dropped after some attempts",
    "delivery.timeout.ms": "a record must not be dropped before its transaction times out",
    "enable.gapless.guarantee": "a gap aborts the transaction; it must not end the client",
    "transactional.id": "it is derived from the group and HAZARDSTREAM_INSTANCE_ID",
    "transaction.timeout.ms": "set HAZARDSTREAM_TRANSACTION_TIMEOUT_MS",
    "partitioner": "records of one key must stay on one partition",
    "group.id": "set HAZARDSTREAM_GROUP_ID",
    "group.instance.id": "set HAZARDSTREAM_INSTANCE_ID",
    "group.protocol": "set HAZARDSTREAM_GROUP_PROTOCOL",
    "group.protocol.type": "it must be `consumer`",
    "group.remote.assignor": "the worker relies on the broker's default assignor",
    "partition.assignment.strategy": "the worker needs cooperative-sticky assignment",
    "session.timeout.ms": "set HAZARDSTREAM_SESSION_TIMEOUT_MS",
    "heartbeat.interval.ms": "it is a fifth of HAZARDSTREAM_SESSION_TIMEOUT_MS",
    "allow.auto.create.topics": "`hazardstream topics create` creates topics, with the settings that they need",
    "metadata.recovery.strategy": "a client that forgets its brokers may wait forever in a transaction",
    "topic.blacklist": "the pipeline file names the topics",
    "log.queue": "the worker reads the client's log",
    "enabled_events": "the worker reads the client's events",
}


def given_properties() -> dict[str, str]:
    """The properties given in the environment and in the file that it names; the file has priority.

    Returns:
        Values by the name that Kafka documents.

    Raises:
        UserError: the file cannot be read, or sets a property that must not be changed.
    """
    given = {usual(name): value for name, value in security_properties().items()}
    if path := variable(_FILE):
        for name, value, line in _from_file(path):
            if name in _REFUSED:
                raise UserError(f"{path}, line {line}: {name} cannot be changed: {_REFUSED[name]}; delete the line")
            given[name] = value
    return given


def _from_file(path: str) -> Iterator[tuple[str, str, int]]:
    for number, text in enumerate(read(_FILE, path).splitlines(), start=1):
        line = text.strip()
        if not line or line.startswith(("#", "!")):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise UserError(
                f"{path}, line {number}: '=' is missing (the line is not shown, it may hold a secret); write name=value"
            )
        yield usual(name.strip()), value.strip(), number


def usual(name: str) -> str:
    """The name that Kafka documents for a property of librdkafka."""
    return USUAL_NAMES.get(name, name)


def of_kind(config: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The properties that apply to a kind of client, which warns about others."""
    left_out = {"consumer": PRODUCER, "producer": CONSUMER, "admin": PRODUCER | CONSUMER}[kind]
    return {name: value for name, value in config.items() if name not in left_out}


def check_bootstrap(servers: str) -> str:
    """Check broker addresses, and return them unchanged.

    Raises:
        UserError: an address holds a user and password, or a protocol.
    """
    for number, address in enumerate(servers.split(","), start=1):
        which = "KAFKA_BOOTSTRAP_SERVERS" + (f", address {number}" if "," in servers else "")
        if "@" in address:
            raise UserError(
                f"{which}: an address must not hold a user and password (not shown here); write host:port, and set "
                "KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        if "://" in address:
            protocol, _, rest = address.strip().partition("://")
            raise UserError(
                f"{which}: an address must not hold a protocol; write {rest} and set "
                f"KAFKA_SECURITY_PROTOCOL={protocol.upper()}"
            )
    return servers


def refusal(text: str, config: Mapping[str, Any]) -> str:
    """What is wrong with a property that librdkafka refuses, and the remedy.

    Args:
        text: librdkafka's message.
        config: the properties that it was given.
    """
    if (file := re.search(r"(\S+\.location) failed", text)) and (path := config.get(file[1])):
        exists = "cannot be used" if Path(path).exists() else "does not exist"
        return f"{file[1]}={path}: the file {exists} ({text}); correct KAFKA_{file[1].upper().replace('.', '_')}"
    found = re.search(r'No such configuration property: "?([^"]+)"?', text)
    if found is None:
        text = re.sub(r'"([\w.]+)"', lambda name: f'"{usual(name[1])}"', text)
        return f"{text}; correct KAFKA_* in the environment, or the file that {_FILE} names"
    near = difflib.get_close_matches(found[1], SHARED | CONSUMER | PRODUCER, n=1)
    remedy = f"did you mean {near[0]}?" if near else "CONFIGURATION.md of librdkafka lists all."
    source = _FILE if variable(_FILE) else "the environment"
    return f"Kafka clients have no property {found[1]}; {remedy} Correct it in {source}"
