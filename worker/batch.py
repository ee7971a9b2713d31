"""A micro-batch of messages as it comes from the consumer."""

from dataclasses import dataclass

import numpy as np
from confluent_kafka import Message

from worker.columns import TextColumn
from worker.features import Int
from worker.message import keys_of, times_of


@dataclass(frozen=True)
class Batch:
    """Messages and the columns that every stage needs. Rows of a partition are in the order of their offsets."""

    messages: list[Message]
    keys: list[bytes]  # empty where null
    partition: Int
    offset: Int
    broker_ts: Int  # ms, negative where there is none

    @classmethod
    def of(cls, messages: list[Message]) -> "Batch":
        """Take the columns out of the messages, once."""
        n = len(messages)
        return cls(
            messages,
            keys_of(messages),
            np.fromiter((m.partition() for m in messages), np.int64, n),
            np.fromiter((m.offset() for m in messages), np.int64, n),
            times_of(messages),
        )

    def key_column(self) -> TextColumn:
        """The message keys as a column."""
        return TextColumn.of(self.keys)
