"""What a Kafka message holds. Every access to a message's content goes through here, as a client may fail on it.

The client parses headers when they are first asked for. It raises where a name is not UTF-8, and from then on hands out
tuples without a name, which crash the interpreter when they are unpacked. Kafka itself allows any bytes.
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
"""Stands in for each header name that is not UTF-8: the client can neither hand out such a name nor write it."""

# Not `message.headers()`: the interpreter's fast path for that call does not look whether the client raised, and the
# exception would come up anywhere later.
_headers = methodcaller("headers")

# Errors that stand for a batch that cannot be read: too large once inflated, damaged, or in an unknown form.
_UNREADABLE = {
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - librdkafka's names
    KafkaError._BAD_MSG,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
    KafkaError.INVALID_MSG,
    KafkaError.MSG_SIZE_TOO_LARGE,
}

Headers: TypeAlias = list[tuple[str, bytes | None]]


def key_of(message: Message) -> bytes | None:
    """The key; None where there is none, which is not the same as an empty one."""
    key: bytes | None = message.key()
    return key


def value_of(message: Message) -> bytes | None:
    """The value; None where the record is a tombstone."""
    value: bytes | None = message.value()
    return value


def headers_of(message: Message) -> Headers:
    """The headers in their order, repeated ones too; see `UNREADABLE_HEADER` for names that are not UTF-8."""
    try:
        return _headers(message) or []
    except (SystemError, UnicodeDecodeError):
        return _salvaged(message)


def _salvaged(message: Message) -> Headers:
    with suppress(SystemError, UnicodeDecodeError):
        _headers(message)
    # A name that is missing shows only in the text of the tuple: to take it out would be the crash.
    pairs = _headers(message) or []
    headers = [(UNREADABLE_HEADER if repr(pair).startswith("(<NULL>") else pair[0], pair[1]) for pair in pairs]
    message.set_headers(headers)  # the next caller gets what can be read
    return headers


def time_of(message: Message) -> int:
    """The Kafka timestamp in ms; negative where there is none."""
    return int(message.timestamp()[1])


def is_unreadable(message: Message) -> bool:
    """Whether this error stands for a batch that cannot be read; its offset is that of the batch."""
    return message.error() is not None and message.error().code() in _UNREADABLE


def keys_of(messages: Sequence[Message]) -> list[bytes | None]:
    """The keys of a batch; None where there is none."""
    return [m.key() for m in messages]


def values_of(messages: Sequence[Message]) -> list[bytes | None]:
    """The values of a batch; None where a record is a tombstone."""
    return [m.value() for m in messages]


def all_headers_of(messages: Sequence[Message]) -> dict[int, Headers]:
    """By row, the headers of those messages of a batch that have any; as `headers_of`, for a third of the time."""
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
    """The Kafka timestamps of a batch: type codes and ms (negative where there is none), shape [n] each."""
    n = len(messages)
    # Asked for twice: tuples that are kept would start the garbage collector.
    types = np.fromiter((m.timestamp()[0] for m in messages), np.int64, n)
    return types, np.fromiter((m.timestamp()[1] for m in messages), np.int64, n)


def stamped_by_broker(message: Message) -> bool:
    """Whether the timestamp is the broker's (`LogAppendTime`), not the producer's."""
    return bool(message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME)


def timestamp_type_name(code: int) -> str:
    """A timestamp's type as the topic setting `message.timestamp.type` names it; empty where there is no timestamp."""
    if code == TIMESTAMP_NOT_AVAILABLE:
        return ""
    return "LogAppendTime" if code == TIMESTAMP_LOG_APPEND_TIME else "CreateTime"
