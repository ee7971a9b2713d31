"""The mock Kafka cluster of the client library, used if the real one cannot be downloaded."""

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

from common.errors import UserError

_PRODUCER = 0  # rd_kafka_type_t


@contextmanager
def mock_cluster(topics: Mapping[str, int]) -> Iterator[str]:
    """Run librdkafka's mock cluster of one broker in this process during the block.

    It serves producers, consumers, groups and transactions, but differs from Kafka: offsets sent in a
    transaction are lost, read_committed hides nothing, a second producer of the same transactional id
    does not fence the first, a partition is trimmed at about 5 MB, there are no offsets by time, and topics can't be
    created by an admin client (a topic that is not named here gets 4 partitions on first use). So it shows
    that records flow, but nothing about exactly-once delivery or recovery.

    Args:
        topics: number of partitions by topic.

    Yields:
        The bootstrap address, valid for any process of this machine.

    Raises:
        UserError: the installed confluent-kafka does not contain librdkafka.
    """
    library = _librdkafka()
    error = ctypes.create_string_buffer(512)
    # The mock cluster runs on the threads of a client instance, so this client does nothing else.
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(
        settings, b"log_level", b"0", None, 0
    )  # otherwise it logs that bootstrap.servers is missing
    client = library.rd_kafka_new(_PRODUCER, settings, error, len(error))
    if not client:
        raise UserError(f"librdkafka cannot start its mock cluster: {error.value.decode()}; use a real Kafka")
    cluster = library.rd_kafka_mock_cluster_new(client, 1)
    try:
        for topic, partitions in topics.items():
            library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


def _librdkafka() -> ctypes.CDLL:
    """The librdkafka of confluent-kafka's wheel, with the signatures of rdkafka.h and rdkafka_mock.h."""
    package = Path(confluent_kafka.__file__).parent
    found = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    if not found:
        raise UserError(
            "confluent-kafka was built without its own librdkafka, so there is no mock cluster; "
            "install its wheel, or set KAFKA_BOOTSTRAP_SERVERS to a real Kafka",
        )
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    library.rd_kafka_conf_new.restype = pointer
    library.rd_kafka_conf_set.argtypes = [pointer, text, text, text, ctypes.c_size_t]
    library.rd_kafka_new.argtypes = [number, pointer, text, ctypes.c_size_t]
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_destroy.argtypes = [pointer]
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, number]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
    library.rd_kafka_mock_topic_create.argtypes = [pointer, text, number, number]
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_cluster_bootstraps.restype = text
    return library
