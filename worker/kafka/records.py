"""Records to produce, as the producers take them."""

from typing import Any, NamedTuple, TypeAlias

from worker.kafka.message import Headers

# What a dead letter's own headers may add to a record that was just within the limit.
HEADER_ALLOWANCE = 8192
# Lengths of a header's name and value, as variable-length numbers.
_HEADER_OVERHEAD = 10


class Record(NamedTuple):
    """A message to produce; partition numbers are those of the input."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    timestamp: int = 0


Bulk: TypeAlias = dict[tuple[str, int], list[dict[str, Any]]]
"""Records, one a reading, by topic and partition, as `Producer.produce_batch` takes them."""


class Outgoing(NamedTuple):
    """All records of a batch: those that every reading has, and the others.

    Attributes:
        bulk_headers: whether some of the first have headers, which the client's bulk call does not know.
    """

    bulk: Bulk
    records: list[Record]
    bulk_headers: bool = False

    def __bool__(self) -> bool:
        return bool(self.bulk or self.records)


def headers_size(headers: Headers) -> int:
    """Bytes that headers take in a record, at most."""
    return sum(len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD for name, value in headers)
