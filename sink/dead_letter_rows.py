"""Records of the dead-letter topic as rows."""

from collections.abc import Mapping

from confluent_kafka import Message

from common.json_text import strict_json
from common.text import text_or_hex
from sink.columns import Kind
from sink.rows import Row
from sink.values import time_or_none
from worker.encode.dead_letter import ERRORS, REDRIVEN, letter_of
from worker.kafka.message import headers_of, key_of, value_of

DEAD_LETTER_FIELDS: Mapping[str, Kind] = {
    "reason": "text",
    "message": "text",
    "source_topic": "text",
    "source_topic_id": "text",
    "source_partition": "integer",
    "source_offset": "integer",
    "source_last_offset": "integer",
    "source_timestamp": "timestamp",
    "redrive_attempts": "integer",
    "omitted": "json",
    "redriven_offsets": "text",
    "raw_key": "bytes",
    "raw_value": "bytes",
}


def dead_letter_values(message: Message) -> Row:
    """The row of any record on the dead-letter topic. One that is no letter has no reason."""
    row: Row = {"raw_key": key_of(message), "raw_value": value_of(message)}
    letter = letter_of(message)
    if letter is None:
        # What a redrive leaves: the offsets of the letters that it sent again.
        marker = next((value for name, value in headers_of(message) if name == REDRIVEN), None)
        return row | {"redriven_offsets": text_or_hex(marker)}
    topic, partition, offset = letter.source
    return row | {
        "reason": letter.reason,
        "message": letter.said.get(ERRORS + "message"),
        "source_topic": topic,
        "source_topic_id": letter.topic_id,
        "source_partition": partition,
        "source_offset": offset,
        "source_last_offset": letter.last_offset,
        "source_timestamp": time_or_none(letter.timestamp_ms or -1),
        "redrive_attempts": letter.attempts,
        "omitted": strict_json(letter.omitted) if letter.omitted else None,
    }
