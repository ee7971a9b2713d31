"""A micro-batch of messages as it comes from the consumer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from confluent_kafka import Message

from common.arrays import Int
from schemas.errors import UnreadableValueError
from schemas.text_column import TextColumn
from schemas.wire import SchemaKey, schema_in_headers
from worker.kafka.message import Headers, all_headers_of, keys_of, times_of


@dataclass(frozen=True)
class Batch:
    """Messages and the columns that every stage needs. Rows of a partition are in the order of their offsets."""

    messages: list[Message]
    keys: list[bytes]  # empty where null
    partition: Int
    offset: Int
    broker_ts: Int  # ms; a recording's own times, where no broker has stamped them; negative where a record has none

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

    @cached_property
    def headers(self) -> dict[int, Headers]:
        """The headers of those messages that have any, by row."""
        return all_headers_of(self.messages)

    @cached_property
    def framed(self) -> dict[int, SchemaKey | UnreadableValueError]:
        """What headers say of the values' schemas; see `worker.score.decode.Framed`."""
        return framed(self.headers)

    def rekeyed(self, keys: Mapping[int, bytes]) -> "Batch":
        """With other keys for some rows."""
        return replace(self, keys=[keys.get(row, key) for row, key in enumerate(self.keys)])

    def key_column(self) -> TextColumn:
        """The message keys as a column."""
        return TextColumn.of(self.keys)


def framed(headers: Mapping[int, Headers]) -> dict[int, SchemaKey | UnreadableValueError]:
    """What headers say of the values' schemas, by row; see `worker.score.decode.Framed`."""
    found: dict[int, SchemaKey | UnreadableValueError] = {}
    for row, pairs in headers.items():
        try:
            key = schema_in_headers(pairs)
        except UnreadableValueError as error:
            found[row] = error
        else:
            if key is not None:
                found[row] = key
    return found
