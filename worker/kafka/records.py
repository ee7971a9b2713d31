"""Records to produce."""

from typing import Any, NamedTuple, TypeAlias

from worker.kafka.message import Headers

# Bytes that a dead letter's own headers add at most to a record.
HEADER_ALLOWANCE = 8192
# Lengths of a header's name and value, as variable-length numbers.
_HEADER_OVERHEAD = 10


class Record(NamedTuple):
    """A message to produce. Its partition has the number of the input partition."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    timestamp: int = 0


Bulk: TypeAlias = dict[tuple[str, int], list[dict[str, Any]]]
"""Records, one per reading, by topic and partition, in the form that `Producer.produce_batch` takes."""


class Outgoing(NamedTuple):
    """All records of a batch.

    Attributes:
        bulk: one record per reading.
        records: all others.
        bulk_headers: whether records in `bulk` have headers, which the client's bulk call does not support.
    """

    bulk: Bulk
    records: list[Record]
    bulk_headers: bool = False


def headers_size(headers: Headers) -> int:
    """The most bytes that headers take in a record."""
    return sum(len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD for name, value in headers)
