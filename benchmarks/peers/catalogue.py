"""The peers: how each is started, what it guarantees, and which features of the worker it lacks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    Attributes:
        title: its name in the table.
        package: name on PyPI; its version is shown.
        requirements: file with the packages of its environment.
        module: its code, in this folder.
        arguments: of its module, after the task.
        fed: its input: the topic of readings, a topic of requests with features that a client computed,
            or HTTP requests of such a client.
        guarantee: of delivery, for each reading.
        gives_up: what the worker does and this peer, configured as here, does not.
        jars: lock file of its connector.
        seconds: longest measurement, from its first prediction.
    """

    title: str
    package: str
    requirements: str
    module: str
    guarantee: str
    gives_up: str
    arguments: tuple[str, ...] = ()
    fed: str = "readings"
    jars: str = ""
    seconds: float = 10.0


_QUIX = "one row at a time, so one model call per reading; random transactional id"
_MEMORY = "windows only in memory, so they are lost with the process and in a rebalance"

PEERS = {
    "quix": Peer(
        title="Quix Streams",
        package="quixstreams",
        requirements="quix",
        module="peer_quix",
        arguments=("at-least-once",),
        guarantee="at least once",
        gives_up=f"exactly once; {_QUIX}",
    ),
    "quix_exactly_once": Peer(
        title="Quix Streams, exactly once",
        package="quixstreams",
        requirements="quix",
        module="peer_quix",
        arguments=("exactly-once",),
        guarantee="exactly once",
        gives_up=_QUIX,
    ),
    "faust": Peer(
        title="Faust, table",
        package="faust-streaming",
        requirements="faust",
        module="peer_faust",
        arguments=("table",),
        guarantee="at least once",
        gives_up="exactly once (its own duplicates on a rebalance, #323); one model call per reading",
    ),
    "faust_take": Peer(
        title="Faust, take",
        package="faust-streaming",
        requirements="faust",
        module="peer_faust",
        arguments=("take",),
        guarantee="at least once",
        gives_up=f"exactly once; {_MEMORY}",
    ),
    "faststream": Peer(
        title="FastStream (confluent), batch",
        package="faststream",
        requirements="faststream",
        module="peer_faststream",
        guarantee="at most once",
        gives_up=f"exactly once (no transactions, #2512), and by default offsets are committed by a timer; {_MEMORY}",
    ),
    "bytewax": Peer(
        title="Bytewax",
        package="bytewax",
        requirements="bytewax",
        module="peer_bytewax",
        guarantee="at least once",
        gives_up="exactly once; no consumer group; state on the local disk; last release in 2024",
    ),
    "mlserver": Peer(
        title="MLServer, Kafka",
        package="mlserver",
        requirements="mlserver",
        module="peer_mlserver",
        fed="requests",
        guarantee="at most once",
        gives_up="Avro; windows (the client computes the features); no consumer group (#1309), so no second process, "
        "and messages sent while it was down are not read; one task per message",
    ),
    "http": Peer(
        title="HTTP: FastAPI, pandas",
        package="fastapi",
        requirements="http",
        module="peer_http",
        fed="http",
        guarantee="up to the client",
        gives_up="Kafka, Avro, windows (the client computes the features), delivery",
    ),
    "flink": Peer(
        title="PyFlink, DataStream",
        package="apache-flink",
        requirements="flink",
        module="peer_flink",
        jars="flink",
        guarantee="exactly once",
        gives_up="source partition and offset, message key; results become visible only at a checkpoint (every 3 s "
        "here); needs a cluster",
        seconds=30.0,
    ),
    "spark": Peer(
        title="Spark Structured Streaming",
        package="pyspark",
        requirements="spark",
        module="peer_spark",
        jars="spark",
        guarantee="at least once",
        gives_up="exactly once (its Kafka sink has no transactions); results wait for micro-batches of many seconds; "
        "needs a cluster",
        seconds=40.0,
    ),
}

JVM = {"flink", "spark"}
