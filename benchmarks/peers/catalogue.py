"""The peers that are measured: how each is started, what it guarantees, and what its user goes without."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    Attributes:
        title: what the table calls it.
        package: on PyPI, whose version is shown.
        requirements: file of its environment.
        module: file of its code, in this folder.
        arguments: that its module takes after the task.
        fed: where the work comes from: the readings' topic, a topic of requests whose features a client computed,
            or HTTP requests of such a client.
        guarantee: for each reading.
        gives_up: what this worker does and it does not, configured as here.
        jars: lock file of its connector.
        seconds: measured at most, from its first prediction.
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


_QUIX = "one row at a time, so one model call a reading; transactional id drawn at random"
_MEMORY = "windows in memory only: lost with the process; batches no state follows through a rebalance"

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
        gives_up="exactly once (its own duplicates on a rebalance, #323); one model call a reading",
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
        gives_up="Avro; windows (the client computes the features); no consumer group (#1309), so no second process "
        "and nothing read that came while it was away; a task a message",
    ),
    "http": Peer(
        title="HTTP: FastAPI, pandas",
        package="fastapi",
        requirements="http",
        module="peer_http",
        fed="http",
        guarantee="the client's affair",
        gives_up="Kafka, Avro, windows (the client computes the features), delivery",
    ),
    "flink": Peer(
        title="PyFlink, DataStream",
        package="apache-flink",
        requirements="flink",
        module="peer_flink",
        jars="flink",
        guarantee="exactly once",
        gives_up="source partition and offset, message key; results show only with a checkpoint (each 3 s here); "
        "a cluster to run",
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
        "a cluster to run",
        seconds=40.0,
    ),
}

JVM = {"flink", "spark"}
