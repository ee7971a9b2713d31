"""The headers that a dead letter has besides those of the original record (Kafka's KIP-1034)."""

import re
from typing import NamedTuple

from confluent_kafka import Message

from common.dead_letter_reasons import DeadLetterReason
from worker.kafka.message import Headers, headers_of, key_of, time_of, timestamp_type_name, value_of

ERRORS = "__streams.errors."  # header names of Kafka's KIP-1034
REASON = "hazardstream.reason"
TOPIC_ID = "hazardstream.topic_id"  # of the topic that the original is on
TIME, TIME_TYPE = "hazardstream.timestamp", "hazardstream.timestamp_type"  # of the original; KIP-1034 names none
# Of a batch that the client cannot read: the last offset that was skipped.
LAST_OFFSET = "hazardstream.last_offset"
# By part of the original record, in the order in which they go when the dead letter would be too large.
OMITTED = {part: f"hazardstream.{part}_omitted" for part in ("value", "headers", "key")}
REDRIVEN = "hazardstream.redriven"
ATTEMPT = "hazardstream.redrive_attempt"
ORIGIN = "hazardstream.redriven_from"
_LONGEST = 2000  # bytes of a message for people
_REASON = re.compile(r"[a-z0-9_]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")  # an offset, which is a 64-bit integer


class Original(NamedTuple):
    """Where the record of a dead letter is.

    Attributes:
        topic_id: of the topic; empty if it is not known.
    """

    topic: str
    partition: int
    offset: int
    topic_id: str = ""


def letter_headers(
    original: Original, reason: DeadLetterReason, message: str, time_ms: int = 0, time_type: int | None = None
) -> dict[str, str]:
    """The headers that make a record a dead letter.

    Args:
        original: what the letter is about.
        reason: the reason code.
        message: what is wrong, for people.
        time_ms: Kafka timestamp of the original, ms; 0 or less where it has none.
        time_type: Kafka's code for where that comes from; None if it is not known.
    """
    headers = {
        REASON: reason,
        ERRORS + "exception": f"hazardstream.{reason}",
        # A schema is JSON, which may hold lone surrogates, and UTF-8 has none.
        ERRORS + "message": message.encode(errors="backslashreplace")[:_LONGEST].decode(errors="ignore"),
        ERRORS + "topic": original.topic,
        ERRORS + "partition": str(original.partition),
        ERRORS + "offset": str(original.offset),
        TIME: str(max(time_ms, 0)),
    }
    if time_type is not None:
        headers[TIME_TYPE] = timestamp_type_name(time_type)
    if original.topic_id:
        headers[TOPIC_ID] = original.topic_id
    return headers


class Letter(NamedTuple):
    """One dead letter: the original record, and what was said about it.

    Attributes:
        partition: of the dead-letter topic, as is `offset`.
        timestamp_ms: of the original; 0 where it had none.
        headers: of the original.
        said: the headers that made it a dead letter.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    said: dict[str, str]

    @property
    def reason(self) -> str:
        """The stable reason code."""
        return self.said[REASON]

    @property
    def source(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the original."""
        return self.said[ERRORS + "topic"], int(self.said[ERRORS + "partition"]), int(self.said[ERRORS + "offset"])

    @property
    def last_offset(self) -> int:
        """The last offset that the letter is about: the original's, or the last of a skipped batch."""
        told = self.said.get(LAST_OFFSET, "")
        return int(told) if _NUMBER.fullmatch(told) else self.source[2]

    @property
    def topic_id(self) -> str:
        """Of the original's topic; empty where the letter does not say it."""
        return self.said.get(TOPIC_ID, "")

    @property
    def attempts(self) -> int:
        """How often it had been redriven before it became this letter."""
        told = next((value for name, value in reversed(self.headers) if name == ATTEMPT), None)
        return int(told) if told is not None and _NUMBER.fullmatch(told.decode(errors="replace")) else 0

    @property
    def omitted(self) -> list[str]:
        """Parts of the original that were too large to keep: value, headers, key."""
        return [part for part, name in OMITTED.items() if name in self.said]


def letter_of(message: Message) -> Letter | None:
    """Take a record of the dead-letter topic apart; None where it is no dead letter of ours."""
    headers = headers_of(message)
    # What makes a dead letter is added behind the original's headers, which may have the same names.
    first = next((i for i in reversed(range(len(headers))) if headers[i][0] == REASON), None)
    if first is None:
        return None
    said = {name: (value or b"").decode(errors="replace") for name, value in headers[first:]}
    # Anybody may write to the topic.
    if ERRORS + "topic" not in said or not _REASON.fullmatch(said[REASON]):
        return None
    if not all(_NUMBER.fullmatch(said.get(ERRORS + place, "")) for place in ("partition", "offset")):
        return None
    told = said.get(TIME, "")
    return Letter(
        message.partition(),
        message.offset(),
        # Letters of older versions have the original's timestamp as their own.
        int(told) if _NUMBER.fullmatch(told) else max(time_of(message), 0),
        key_of(message),
        value_of(message),
        headers[:first],
        said,
    )
