"""Three brokers, a schema registry, and workers that reach both through gates of their own."""

import itertools
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local.kafka import Cluster, kafka_cluster
from local.kafka import Gate as Listeners
from local.process import Server, answers, free_ports
from local.registry import registry_server
from tests.chaos.plan import SESSION_TIMEOUT_S
from tests.harness import Stage, Worker, make_stage
from tests.kafka_proxy import KafkaProxy
from tests.tcp_gate import Gate, tcp_gate

BROKERS, PARTITIONS = 3, 6
NAMES = ["w1", "w2", "w3", "w4"]
FIRST = 3
"""How many workers there are at first; faults take one away or add one in turn."""


@dataclass
class Way:
    """How one worker reaches the rest of the world."""

    bootstrap: str
    registry_url: str
    gates: list[Gate]
    proxy: KafkaProxy

    def shut(self, *, silent: bool) -> None:
        """Cut the worker off: by losing all packets, or by refusing connections."""
        for gate in self.gates:
            gate.hold() if silent else gate.shut()

    def open(self, *, silent: bool, spread_s: float = 0.0) -> None:
        """Let the worker through again; what silence held back arrives within `spread_s` seconds."""
        for gate in self.gates:
            gate.release(spread_s) if silent else gate.open()


@dataclass
class Site:
    """All processes of a run.

    Attributes:
        workers: those that run (or should), by name.
        died: what workers ended with although nobody had asked them to, and those that did not stop as asked.
    """

    cluster: Cluster
    registry: Server
    stage: Stage
    ways: dict[str, Way]
    running: ExitStack
    workers: dict[str, Worker] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)

    def start_worker(self, name: str) -> None:
        """Start a worker, or the successor of the one of that name."""
        way = self.ways[name]
        self.workers[name] = self.running.enter_context(
            self.stage.worker(
                instance_id=name,
                bootstrap_servers=way.bootstrap,
                registry_url=way.registry_url,
                session_timeout_ms=str(round(SESSION_TIMEOUT_S * 1000)),
                batch_max_messages="500",
            )
        )

    def stop_worker(self, name: str) -> None:
        """Stop a worker by SIGTERM. It must end well."""
        worker = self.workers.pop(name)
        try:
            code = worker.stop()
        except subprocess.TimeoutExpired:
            worker.kill()
            self.died.append(f"{name} did not stop within a minute; {worker.log}")
        else:
            # Asked so early that it had not begun: the signal ends Python itself.
            if code not in {0, -signal.SIGTERM}:
                self.died.append(f"{name} ended with {code} on SIGTERM; {worker.log}")

    def replace_dead(self, but: set[str]) -> None:
        """Start workers again that died by themselves, as a supervisor does."""
        for name in self.workers.keys() - but:
            if (code := self.workers[name].process.poll()) is not None:
                self.died.append(f"{name} ended by itself with {code}; {self.workers[name].log}")
                self.start_worker(name)

    def is_in_sync(self, node: int = 0) -> bool:
        """Whether a broker answers, and says that all brokers are there and hold every partition in full."""
        # A client of its own: one that knows the others would ask those, who may not have noticed yet.
        # log_level 0: that a broker is away is what this is about.
        admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap.split(",")[node], "log_level": 0})
        try:
            about = admin.list_topics(timeout=2.0)
        except KafkaException:
            return False
        partitions = [p for topic in about.topics.values() for p in topic.partitions.values()]
        return len(about.brokers) == BROKERS and all(len(p.isrs) == len(p.replicas) for p in partitions)

    def registry_answers(self) -> bool:
        """Whether the schema registry is there."""
        return answers(f"{self.stage.registry_url}/subjects")


@contextmanager
def site(directory: Path, model: Path) -> Iterator[Site]:
    """Start brokers, registry and the first workers; everything has ended after the block.

    Args:
        directory: gets data and logs of all processes.
        model: package that the workers load.
    """
    with ExitStack() as running:
        inner = [free_ports(BROKERS) for _ in NAMES]
        proxies = [KafkaProxy(ports) for ports in inner]
        for proxy in proxies:
            running.callback(proxy.close)
        gates = [[Gate(port) for port in proxy.ports] for proxy in proxies]
        for gate in itertools.chain(*gates):
            running.callback(gate.shut)
        listeners = [Listeners(i, [gate.port for gate in each]) for i, each in zip(inner, gates, strict=True)]
        cluster = running.enter_context(kafka_cluster(directory / "kafka", nodes=BROKERS, gates=listeners))
        registry, url = running.enter_context(registry_server(directory / "registry"))
        stage = make_stage(cluster.bootstrap, "chaos.", directory, model, PARTITIONS, replication_factor=BROKERS)
        stage.registry_url = url
        ways = {}
        for name, of_brokers, proxy in zip(NAMES, gates, proxies, strict=True):
            to_registry, gated_url = running.enter_context(tcp_gate(url))
            bootstrap = ",".join(f"127.0.0.1:{gate.port}" for gate in of_brokers)
            ways[name] = Way(bootstrap, gated_url, [*of_brokers, to_registry], proxy)
        ready = Site(cluster, registry, stage, ways, running)
        for name in NAMES[:FIRST]:
            ready.start_worker(name)
        for name in NAMES[:FIRST]:
            ready.workers[name].await_ready()
        yield ready
