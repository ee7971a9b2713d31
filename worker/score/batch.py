"""A micro-batch of messages as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from common.arrays import Int
from schemas.errors import UnreadableValueError
from schemas.text_column import TextColumn
from schemas.wire import Headers, SchemaKey, schema_in_headers


@dataclass(frozen=True)
class Batch:
    """Messages, column by column. Rows of a partition are in the order of their offsets.

    Attributes:
        keys: message keys; None where null.
        values: message values; None where null.
        partition: shape [n], as `offset`.
        broker_ts: Kafka timestamps, ms, shape [n]; negative where a record has none. A recording has its own times.
        timestamp_type: Kafka's code for where each timestamp comes from, shape [n].
        headers: by row, of the messages that have any.
    """

    keys: list[bytes | None]
    values: list[bytes | None]
    partition: Int
    offset: Int
    broker_ts: Int
    timestamp_type: Int
    headers: Mapping[int, Headers] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of messages."""
        return len(self.keys)

    @cached_property
    def framed(self) -> dict[int, SchemaKey | UnreadableValueError]:
        """What headers say about the schemas of values; see `worker.score.decode.Framed`."""
        return framed(self.headers)

    def by_partition(self, values: Mapping[int, int], *, otherwise: int) -> Int:
        """The value of each message's partition, shape [n]; `otherwise` for partitions without one."""
        partitions, which = np.unique(self.partition, return_inverse=True)
        return np.array([values.get(partition, otherwise) for partition in partitions.tolist()], np.int64)[which]

    def take(self, rows: Int) -> "Batch":
        """Some of the messages."""
        numbers = rows.tolist()
        headers = {i: self.headers[row] for i, row in enumerate(numbers) if row in self.headers} if self.headers else {}
        return Batch(
            [self.keys[row] for row in numbers],
            [self.values[row] for row in numbers],
            self.partition[rows],
            self.offset[rows],
            self.broker_ts[rows],
            self.timestamp_type[rows],
            headers,
        )

    def key_column(self) -> TextColumn:
        """The message keys as a column; empty where null."""
        return TextColumn.of([key or b"" for key in self.keys])


def framed(headers: Mapping[int, Headers]) -> dict[int, SchemaKey | UnreadableValueError]:
    """What headers say about the schemas of values, by row; see `worker.score.decode.Framed`."""
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


def columns_only(keys: Sequence[bytes | None], partition: Int, offset: Int, broker_ts: Int) -> Batch:
    """A batch of readings that are columns already: it has no values."""
    return Batch(list(keys), [None] * len(keys), partition, offset, broker_ts, np.zeros(len(keys), np.int64))
