"""Reads the content of Kafka messages. All access goes through here, because the client fails on some of it.

The client parses headers at the first call of `Message.headers`. If a header name is not UTF-8, which Kafka allows,
that call raises. Later calls return tuples without a name, and unpacking such a tuple crashes the interpreter.
"""

from collections.abc import Sequence
from contextlib import suppress
from operator import methodcaller
from typing import TypeAlias

import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, KafkaError, Message
from numpy.typing import NDArray

LOG_APPEND_TIME = TIMESTAMP_LOG_APPEND_TIME
"""Code of the timestamps that the broker sets (`Message.timestamp`)."""
UNREADABLE_HEADER = "hazardstream.unreadable_header"
"""Replaces each header name that is not UTF-8, because the client can neither return nor write such a name."""

# Not `message.headers()`: the interpreter's fast path for that call does not check whether the client raised, so the
# exception would appear at some later, unrelated place.
_headers = methodcaller("headers")

# Errors of a batch that cannot be read: too large after decompression, corrupt, or in an unknown format.
_UNREADABLE = {
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - librdkafka's names
    KafkaError._BAD_MSG,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
    KafkaError.INVALID_MSG,
    KafkaError.MSG_SIZE_TOO_LARGE,
}

Headers: TypeAlias = list[tuple[str, bytes | None]]


def key_of(message: Message) -> bytes | None:
    """The key; None if the message has none. An empty key is not None."""
    key: bytes | None = message.key()
    return key


def value_of(message: Message) -> bytes | None:
    """The value; None if the record is a tombstone."""
    value: bytes | None = message.value()
    return value


def headers_of(message: Message) -> Headers:
    """All headers in order, including repeated names. `UNREADABLE_HEADER` replaces names that are not UTF-8."""
    try:
        return _headers(message) or []
    except (SystemError, UnicodeDecodeError):
        return _salvaged(message)


def _salvaged(message: Message) -> Headers:
    with suppress(SystemError, UnicodeDecodeError):
        _headers(message)
    # Only the text of a tuple shows safely that its name is missing: reading the name would crash.
    pairs = _headers(message) or []
    headers = [(UNREADABLE_HEADER if repr(pair).startswith("(<NULL>") else pair[0], pair[1]) for pair in pairs]
    message.set_headers(headers)  # so that the next call does not fail
    return headers


def time_of(message: Message) -> int:
    """The Kafka timestamp in ms; negative if there is none."""
    return int(message.timestamp()[1])


def is_unreadable(message: Message) -> bool:
    """Whether the message is an error about a batch that cannot be read. Its offset is that of the batch."""
    return message.error() is not None and message.error().code() in _UNREADABLE


def keys_of(messages: Sequence[Message]) -> list[bytes | None]:
    """The keys of a batch; None for a message without a key."""
    return [m.key() for m in messages]


def values_of(messages: Sequence[Message]) -> list[bytes | None]:
    """The values of a batch; None for a tombstone."""
    return [m.value() for m in messages]


def all_headers_of(messages: Sequence[Message]) -> dict[int, Headers]:
    """The headers of each message that has any, by row. Same result as `headers_of`, in a third of the time."""
    try:
        if not any(map(_headers, messages)):
            return {}
        each = list(map(_headers, messages))
    except (SystemError, UnicodeDecodeError):
        each = [_salvaged(message) for message in messages]
    return {row: headers for row, headers in enumerate(each) if headers}


def partitions_of(messages: Sequence[Message]) -> NDArray[np.int64]:
    """The partitions of a batch, shape [n]."""
    return np.fromiter((m.partition() for m in messages), np.int64, len(messages))


def offsets_of(messages: Sequence[Message]) -> NDArray[np.int64]:
    """The offsets of a batch, shape [n]."""
    return np.fromiter((m.offset() for m in messages), np.int64, len(messages))


def timestamps_of(messages: Sequence[Message]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The Kafka timestamps of a batch: type codes and ms (negative if there is none), shape [n] each."""
    n = len(messages)
    # Two calls per message, because keeping the tuples would start the garbage collector.
    types = np.fromiter((m.timestamp()[0] for m in messages), np.int64, n)
    return types, np.fromiter((m.timestamp()[1] for m in messages), np.int64, n)


def stamped_by_broker(message: Message) -> bool:
    """Whether the broker set the timestamp (`LogAppendTime`), not the producer."""
    return bool(message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME)


def timestamp_type_name(code: int) -> str:
    """The type of a timestamp, as a value of the topic setting `message.timestamp.type`; empty without a timestamp."""
    if code == TIMESTAMP_NOT_AVAILABLE:
        return ""
    return "LogAppendTime" if code == TIMESTAMP_LOG_APPEND_TIME else "CreateTime"
