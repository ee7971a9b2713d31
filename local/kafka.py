"""A real Apache Kafka (KRaft) on this machine, from its jars."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from common.environment import variable
from common.errors import UserError
from local.jars import kafka_jars
from local.java import java
from local.process import Server, free_ports, port_is_free, retry_on_taken_port, start, stop, wait_until_ready

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
# Any 16 bytes in base64: all nodes of a cluster need the same id.
_CLUSTER_ID = "aGF6YXJkc3RyZWFtLWxvYw"
_FORMAT_TIMEOUT_S = 60


class Gate(NamedTuple):
    """An extra listener of all brokers, behind a proxy.

    Attributes:
        inner: port on which each broker listens, by node.
        outer: port that each broker advertises, by node.
    """

    inner: list[int]
    outer: list[int]


class Listener(NamedTuple):
    """An extra listener of the broker, for clients with TLS or SASL.

    Attributes:
        name: of the listener, upper case.
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        port: on which the (only) broker listens.
        advertised: host:port for clients; None: the address on which it listens.
        settings: of this listener, without its prefix, such as `ssl.keystore.location`.
    """

    name: str
    protocol: str
    port: int
    advertised: str | None = None
    settings: Mapping[str, str] = MappingProxyType({})

    def broker_settings(self) -> dict[str, str]:
        """The settings with the prefix that the broker expects."""
        return {f"listener.name.{self.name.lower()}.{name}": value for name, value in self.settings.items()}


def broker(directory: Path) -> AbstractContextManager[str]:
    """The Kafka named in `KAFKA_BOOTSTRAP_SERVERS`, if set; otherwise a local one that runs during the block.

    Args:
        directory: of data and logs of a local broker.

    Returns:
        A context manager that yields the bootstrap address.
    """
    given = variable(BOOTSTRAP_VARIABLE)
    return nullcontext(given) if given else kafka_broker(directory)


@contextmanager
def kafka_broker(directory: Path, *, nodes: int = 1, partitions: int = 1, auto_create: bool = False) -> Iterator[str]:
    """Run Apache Kafka during the block, on the loopback address only.

    Started again on the same directory, it has the same topics, offsets and records, and uses the same ports if they
    are still free.

    Args:
        directory: of data, settings and logs (`broker-1.log`, …).
        nodes: number of brokers, each also a controller. With 3 or more, the replication factor is 3 and a write
            needs two replicas.
        partitions: default number of partitions of a new topic.
        auto_create: create a topic when a client asks for it.

    Yields:
        The bootstrap address.

    Raises:
        UserError: it cannot be downloaded, or does not start; the text has the end of its log.
    """
    with kafka_cluster(directory, nodes=nodes, partitions=partitions, auto_create=auto_create) as cluster:
        yield cluster.bootstrap


class Cluster(NamedTuple):
    """Local brokers.

    Attributes:
        bootstrap: their addresses.
        servers: the brokers, by node. A killed broker has the same data and ports when it is launched again.
    """

    bootstrap: str
    servers: list[Server]


@contextmanager
def kafka_cluster(
    directory: Path,
    *,
    nodes: int,
    partitions: int = 1,
    gates: Sequence[Gate] = (),
    listeners: Sequence[Listener] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
    auto_create: bool = False,
) -> Iterator[Cluster]:
    """Like `kafka_broker`, for tests that kill brokers, or put a proxy in front of them.

    Args:
        directory: see `kafka_broker`.
        nodes: see `kafka_broker`.
        partitions: see `kafka_broker`.
        gates: extra listeners. The brokers send clients of a gate to its outer ports.
            The caller must run the proxy that listens there.
        listeners: extra listeners, with one node only.
        settings: broker settings that override the defaults for tests and the demo.
        auto_create: see `kafka_broker`.
    """
    more = {name: value for each in listeners for name, value in each.broker_settings().items()}
    more |= {"auto.create.topics.enable": str(auto_create).lower(), **settings}
    cluster = _start(directory, nodes, partitions, gates, listeners, more)
    try:
        yield cluster
    finally:
        stop(cluster.servers)


def broker_pids(directory: Path) -> list[int]:
    """Process ids of the brokers of a directory, by node. Each is the leader of its process group."""
    pids = sorted(directory.glob("broker-*.pid"))
    return [int(each.read_text()) for each in pids]


@retry_on_taken_port
def _start(
    directory: Path,
    nodes: int,
    partitions: int,
    gates: Sequence[Gate],
    listeners: Sequence[Listener],
    more: Mapping[str, str],
) -> Cluster:
    directory.mkdir(parents=True, exist_ok=True)
    logging = directory / "log4j2.properties"
    logging.write_text(files("local").joinpath("log4j2.properties").read_text())
    ports = _ports(directory, nodes)
    bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports[:nodes])
    jvm = [java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={logging}"]
    classes = ["-cp", f"{kafka_jars()}/*"]

    configs = []
    for node in range(1, nodes + 1):
        config = directory / f"broker-{node}.properties"
        settings = _settings(node, ports, directory / f"data-{node}", partitions, gates, listeners)
        config.write_text("".join(f"{name}={value}\n" for name, value in {**settings, **more}.items()))
        configs.append(config)
    _format(
        [[*jvm, *classes, "kafka.tools.StorageTool", "format", "-g", "-t", _CLUSTER_ID, "-c", str(c)] for c in configs]
    )

    servers = [
        start(
            f"Kafka broker {node}", [*jvm, "-Xmx512m", *classes, "kafka.Kafka", str(config)], config.with_suffix(".log")
        )
        for node, config in enumerate(configs, start=1)
    ]
    # log_level 0: refused connections are normal until the broker listens.
    admin = AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0})
    wait_until_ready(servers, lambda: _brokers_seen(admin) == nodes)
    return Cluster(bootstrap, servers)


def _settings(
    node: int, ports: list[int], data: Path, partitions: int, gates: Sequence[Gate], listeners: Sequence[Listener]
) -> dict[str, object]:
    """Broker settings for tests and the demo: few internal partitions, short timeouts.

    Args:
        node: number of the broker, from 1.
        ports: listener ports of all brokers, then controller ports of all.
        data: directory of the log segments.
        partitions: default number of partitions of a new topic.
        gates: see `kafka_cluster`.
        listeners: see `kafka_cluster`.
    """
    nodes = len(ports) // 2
    listener, controllers = ports[node - 1], ports[nodes:]
    inner = {"PLAINTEXT": listener} | {f"GATE{n}": gate.inner[node - 1] for n, gate in enumerate(gates)}
    outer = {"PLAINTEXT": listener} | {f"GATE{n}": gate.outer[node - 1] for n, gate in enumerate(gates)}
    protocols = dict.fromkeys([*inner, "CONTROLLER"], "PLAINTEXT") | {each.name: each.protocol for each in listeners}
    advertised = {each.name: each.advertised for each in listeners if each.advertised}
    inner |= {each.name: each.port for each in listeners}
    outer |= {each.name: each.port for each in listeners if each.advertised is None}
    replicas = min(nodes, 3)
    in_sync = 2 if replicas == 3 else 1
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(controllers, start=1)),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": _addresses(inner | {"CONTROLLER": controllers[node - 1]}),
        "advertised.listeners": ",".join([_addresses(outer), *(f"{name}://{at}" for name, at in advertised.items())]),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "log.dirs": data,
        "num.partitions": partitions,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # Shorter than Kafka's 9 s, so that other brokers take over from a dead one sooner. A single broker keeps 9 s:
        # it must not count as dead while the machine is busy.
        "broker.session.timeout.ms": 4000 if nodes > 1 else 9000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.session.timeout.ms": 6000,
        "group.consumer.min.heartbeat.interval.ms": 500,
        "group.consumer.heartbeat.interval.ms": 1000,
        "log.initial.task.delay.ms": 1000,
        "log.retention.check.interval.ms": 1000,
        "log.cleaner.backoff.ms": 1000,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
    }


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _ports(directory: Path, nodes: int) -> list[int]:
    """Two ports per node: those of an earlier run if they are free and enough, otherwise new ones."""
    remembered = directory / "ports"
    former = [int(port) for port in remembered.read_text().split()] if remembered.exists() else []
    ports = former if len(former) == 2 * nodes and all(map(port_is_free, former)) else free_ports(2 * nodes)
    remembered.write_text(" ".join(map(str, ports)))
    return ports


def _format(commands: list[list[str]]) -> None:
    """Format all data directories in parallel. `-g` skips those that are formatted already."""
    with ThreadPoolExecutor() as pool:
        done = list(
            pool.map(partial(subprocess.run, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S), commands)
        )
    for each in done:
        if each.returncode:
            raise UserError(
                f"Kafka cannot format its data directory; delete it and try again. Kafka said:\n{each.stderr}"
            )


def _brokers_seen(admin: AdminClient) -> int:
    try:
        return len(admin.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return 0
