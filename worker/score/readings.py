"""Readings of a batch as columns, where they come from, and the messages that became none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from schemas.text_column import NullableText, TextColumn


@dataclass(frozen=True)
class Readings:
    """Decoded readings as columns.

    Attributes:
        row: row in the consumed batch, shape [n].
        key: what the reading is about; empty as decoded where the record has no field of it.
        group: what the key belongs to; empty where the record has no field of it.
        ts: event time, ms since the epoch, shape [n]; 0 as decoded where the record has no field of it.
        values: sensors in raw units, NaN where null, shape [n, sensors].
        present: which sensors were not null, shape [n, sensors]; a NaN that is present was sent as NaN.
        categories: the fields of texts, by name, n rows each.
    """

    row: Int
    key: TextColumn
    group: TextColumn
    ts: Int
    values: Float
    present: Bool
    categories: Mapping[str, NullableText] = field(default_factory=dict)

    def take(self, rows: Int | Bool) -> "Readings":
        """Some of the readings."""
        key, group = self.key.take(rows), self.group.take(rows)
        categories = {name: texts.take(rows) for name, texts in self.categories.items()}
        return Readings(self.row[rows], key, group, self.ts[rows], self.values[rows], self.present[rows], categories)


class Origin(NamedTuple):
    """Where readings come from, shape [n] each.

    Attributes:
        keys: what the readings are about, as the record's key field says it.
        broker_ts: Kafka timestamps, ms.
    """

    keys: list[bytes]
    partition: Int
    offset: Int
    broker_ts: Int

    def take(self, rows: Int) -> "Origin":
        """Some of the readings."""
        keys = [self.keys[row] for row in rows.tolist()]
        return Origin(keys, self.partition[rows], self.offset[rows], self.broker_ts[rows])


@dataclass(frozen=True)
class Rejection:
    """A row of the batch that becomes a dead letter: the reason code and a text for people."""

    row: int
    reason: DeadLetterReason
    message: str
