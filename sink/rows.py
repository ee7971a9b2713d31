"""Rows of tables, and what all rows have of their Kafka record."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from confluent_kafka import Message

from common.json_text import strict_json
from common.text import shown, text_or_hex
from sink.columns import Columns, Kind
from sink.values import time_or_none
from worker.kafka.message import headers_of, key_of, time_of, value_of

Row: TypeAlias = dict[str, Any]
"""Value by name of the column; a column that is not named is null."""
_LONGEST_MESSAGE = 2000


class Table(NamedTuple):
    """A table, and the topic whose records are its rows.

    Attributes:
        name: of the table.
        topic: the topic.
        columns: so far; `values` adds those of fields that only a newer schema has.
        values: the row of a record's value. It raises `UnreadableValueError` if there is none, and
            `DependencyDownError` if the schema registry does not answer.
    """

    name: str
    topic: str
    columns: Columns
    values: Callable[[Message], Row]


def record_row(message: Message, topic_id: str) -> Row:
    """The columns that rows of all tables have."""
    headers = headers_of(message)
    return {
        "kafka_topic_id": topic_id,
        "kafka_partition": message.partition(),
        "kafka_offset": message.offset(),
        "kafka_timestamp": time_or_none(time_of(message)),
        "kafka_key": text_or_hex(key_of(message)),
        "kafka_headers": strict_json([[name, text_or_hex(value)] for name, value in headers]) if headers else None,
    }


def unreadable_row(message: Message, topic_id: str, table: str, reason: str, text: str) -> Row:
    """A record that has no row in its table, byte for byte."""
    return record_row(message, topic_id) | {
        "kafka_topic": message.topic(),
        "table_name": table,
        "reason": reason,
        "message": shown(text, _LONGEST_MESSAGE),
        "raw_key": key_of(message),
        "raw_value": value_of(message),
    }


UNREADABLE_FIELDS: Mapping[str, Kind] = {
    "kafka_topic": "text",
    "table_name": "text",
    "reason": "text",
    "message": "text",
    "raw_key": "bytes",
    "raw_value": "bytes",
}
