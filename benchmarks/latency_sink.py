"""A separate process that receives committed records and notes when they arrive. It decodes them at the end.

Example:
    python -m benchmarks.latency_sink 127.0.0.1:9092 battery.predictions 1000 1780000000000 23000 received.npz
"""

import sys
import time

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.readings import HEAD_BYTES, Readings
from worker.kafka.client_config import client_config

_PATIENCE_S = 60.0


def main(bootstrap: str, topic: str, modules: str, start_ms: str, count: str, file: str) -> None:
    """Receive records up to a number, or until none comes for a minute. Write `number` and `received_ns`.

    Args:
        bootstrap: broker addresses.
        topic: to read from its beginning, read_committed.
        modules: see `Readings`.
        start_ms: see `Readings`.
        count: records to wait for.
        file: a NumPy file; times are those of the monotonic clock.
    """
    consumer = Consumer(
        client_config(bootstrap)
        | {"group.id": "latency-sink", "enable.auto.commit": False, "isolation.level": "read_committed"}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    heads, sizes, times = list[bytes](), list[int](), list[int]()
    received, last = 0, time.monotonic()
    while received < int(count) and time.monotonic() < last + _PATIENCE_S:
        message = consumer.poll(0.1)
        if message is None:
            continue
        # `consume` waits for the full number. Without a timeout it returns what has arrived.
        messages = [message, *consumer.consume(10_000, 0)]
        times.append(time.monotonic_ns())
        if failed := [m.error() for m in messages if m.error() is not None]:
            raise KafkaException(failed[0])
        heads.append(b"".join([m.value()[:HEAD_BYTES] for m in messages]))
        sizes.append(len(messages))
        received += len(messages)
        last = time.monotonic()
    consumer.close()
    number = Readings(int(modules), int(start_ms)).numbers(b"".join(heads))
    np.savez(file, number=number, received_ns=np.repeat(np.array(times, np.int64), sizes))


if __name__ == "__main__":
    main(*sys.argv[1:])
