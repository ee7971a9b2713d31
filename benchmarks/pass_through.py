"""The upper limit: a process that consumes and produces transactionally, and does nothing else.

Example:
    python -m benchmarks.pass_through 127.0.0.1:9092 battery.readings copies copying
"""

import sys
from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, TopicPartition

from worker.config.settings import load_settings
from worker.kafka.client_config import client_config
from worker.kafka.publisher import TransactionalPublisher
from worker.kafka.records import Bulk, Outgoing


def pass_through(bootstrap: str, source: str, sink: str, group: str) -> None:
    """Copy a topic, partition by partition, in the same batches and transactions as the worker, until killed.

    Args:
        bootstrap: broker addresses.
        source: topic to copy.
        sink: topic with as many partitions.
        group: consumer group, also the transactional id.
    """
    settings = load_settings()
    config = client_config(bootstrap)
    consumer = Consumer(
        config
        | {
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 65_536,
            "fetch.wait.max.ms": 100,
        }
    )
    publisher = TransactionalPublisher(config, consumer, group, settings.transaction_timeout_ms)
    publisher.open()
    consumer.subscribe([source])
    while True:
        copies: Bulk = defaultdict(list)
        next_offsets = {}
        first = consumer.poll(0.1)
        # `consume` waits for the full number. Without a timeout it returns what has arrived.
        messages = [] if first is None else [first, *consumer.consume(settings.batch_max_messages - 1, 0)]
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            partition = message.partition()
            copies[sink, partition].append({"key": message.key(), "value": message.value()})
            next_offsets[partition] = message.offset() + 1
        if copies:
            publisher.commit(Outgoing(copies, []), [TopicPartition(source, p, o) for p, o in next_offsets.items()])


if __name__ == "__main__":
    pass_through(*sys.argv[1:])
