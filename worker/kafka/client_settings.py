"""Client properties that the user gives, in the environment and in a file: read, checked, and sorted by client."""

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
_EXACT = "exactly once rests on it"
_PLACE = "the worker decides which offsets are committed, and where reading starts"
# What our guarantees rest on, or what has a setting of its own. By the usual name.
_REFUSED = {
    "enable.auto.commit": _PLACE,
    "auto.commit.interval.ms": _PLACE,
    "enable.auto.offset.store": _PLACE,
    "auto.offset.reset": _PLACE,
    "enable.partition.eof": "the worker takes ends of partitions for errors",
    "isolation.level": f"{_EXACT}: records of aborted transactions must not be read",
    "check.crcs": "librdkafka 2.16 ends the process at a damaged batch, and so each worker in turn",
    "enable.idempotence": f"{_EXACT}: a repeated request must not double a record",
    "acks": f"{_EXACT}: a record counts as written once all replicas in sync have it",
    "retries": "records must not be given up",
    "delivery.timeout.ms": "records must not be given up before their transaction is",
    "enable.gapless.guarantee": "a gap ends a transaction, not the client",
    "transactional.id": "it is made from the group and HAZARDSTREAM_INSTANCE_ID",
    "transaction.timeout.ms": "set HAZARDSTREAM_TRANSACTION_TIMEOUT_MS",
    "partitioner": "records of one key must stay on one partition",
    "group.id": "set HAZARDSTREAM_GROUP_ID",
    "group.instance.id": "set HAZARDSTREAM_INSTANCE_ID",
    "group.protocol": "set HAZARDSTREAM_GROUP_PROTOCOL",
    "group.protocol.type": "it is `consumer`",
    "group.remote.assignor": "the worker relies on the broker's own choice",
    "partition.assignment.strategy": "the worker takes over partitions one by one (cooperative-sticky)",
    "session.timeout.ms": "set HAZARDSTREAM_SESSION_TIMEOUT_MS",
    "heartbeat.interval.ms": "it is a fifth of HAZARDSTREAM_SESSION_TIMEOUT_MS",
    "allow.auto.create.topics": "topics are made by `hazardstream topics create`, with the settings that they need",
    "metadata.recovery.strategy": "a client that drops its brokers may wait for ever in a transaction",
    "topic.blacklist": "the pipeline file names the topics",
    "log.queue": "the worker reads the client's log",
    "enabled_events": "the worker reads the client's events",
}


def given_properties() -> dict[str, str]:
    """The properties that the environment and the file it names give, under their usual names; the file wins.

    Raises:
        UserError: the file cannot be read, or a property must not be changed; the text names it.
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
                f"{path}, line {number}: a line without '=' (not shown: it may be a secret); write name=value"
            )
        yield usual(name.strip()), value.strip(), number


def usual(name: str) -> str:
    """The name that Kafka documents, for one of librdkafka's own."""
    return USUAL_NAMES.get(name, name)


def of_kind(config: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The properties that are of use to a kind of client: the client warns of others."""
    left_out = {"consumer": PRODUCER, "producer": CONSUMER, "admin": PRODUCER | CONSUMER}[kind]
    return {name: value for name, value in config.items() if name not in left_out}


def check_bootstrap(servers: str) -> str:
    """The broker addresses as given.

    Raises:
        UserError: they hold a user and password, or no port that is one.
    """
    for number, address in enumerate(servers.split(","), start=1):
        which = "KAFKA_BOOTSTRAP_SERVERS" + (f", address {number}" if "," in servers else "")
        if "@" in address:
            raise UserError(
                f"{which}: an address takes no user and password (not shown); write host:port, and set "
                "KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        if "://" in address:
            protocol, _, rest = address.strip().partition("://")
            raise UserError(
                f"{which}: an address takes no protocol; write {rest} and set "
                f"KAFKA_SECURITY_PROTOCOL={protocol.upper()}"
            )
    return servers


def refusal(words: str, config: Mapping[str, Any]) -> str:
    """Librdkafka's words for a property that it refuses: which file it cannot read, or which name was meant.

    Args:
        words: librdkafka's.
        config: what it was given.
    """
    if (file := re.search(r"(\S+\.location) failed", words)) and (path := config.get(file[1])):
        exists = "cannot be used" if Path(path).exists() else "does not exist"
        return f"{file[1]}={path}: the file {exists} ({words}); correct KAFKA_{file[1].upper().replace('.', '_')}"
    found = re.search(r'No such configuration property: "?([^"]+)"?', words)
    if found is None:
        words = re.sub(r'"([\w.]+)"', lambda name: f'"{usual(name[1])}"', words)
        return f"{words}; see KAFKA_* in the environment, and the file that {_FILE} names"
    near = difflib.get_close_matches(found[1], SHARED | CONSUMER | PRODUCER, n=1)
    cure = f"did you mean {near[0]}?" if near else "librdkafka's CONFIGURATION.md lists those there are"
    source = _FILE if variable(_FILE) else "the environment"
    return f"{found[1]} is no property of a Kafka client; {cure} Correct it in {source}"
