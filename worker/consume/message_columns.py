"""Messages of the consumer as the columns of a batch."""

from collections.abc import Sequence

from confluent_kafka import Message

from worker.kafka.message import all_headers_of, keys_of, offsets_of, partitions_of, timestamps_of, values_of
from worker.score.batch import Batch


def batch_of(messages: Sequence[Message]) -> Batch:
    """Read the columns from the messages, once. Those of a partition must be in the order of their offsets."""
    timestamp_type, broker_ts = timestamps_of(messages)
    return Batch(
        keys_of(messages),
        values_of(messages),
        partitions_of(messages),
        offsets_of(messages),
        broker_ts,
        timestamp_type,
        all_headers_of(messages),
    )
