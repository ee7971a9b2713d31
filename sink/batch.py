"""What is stored in one step: the rows of consecutive records of some partitions."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from confluent_kafka import Message

from schemas.errors import UnreadableValueError
from sink.columns import Column
from sink.rows import Row, Table, record_row, unreadable_row

REFUSED = "refused"
"""Reason of records that the destination refuses, such as a row that is too large for it."""


class Origin(NamedTuple):
    """A partition that rows come from.

    Attributes:
        topic_id: which changes if the topic is deleted and created again; empty if the broker has no topic ids.
    """

    table: str
    topic: str
    topic_id: str
    partition: int


class Part(NamedTuple):
    """The rows of consecutive records of one partition.

    Attributes:
        expected: the offset up to which the destination holds the partition so far; see `Stored.next_offset`.
        first: the offset from which the messages were read.
        end: the offset up to which the destination holds the partition with these rows.
        rows: of the table.
        messages: of these rows.
        unreadable: rows of records that have none in the table.
    """

    table: Table
    origin: Origin
    expected: int | None
    first: int
    end: int
    rows: list[Row]
    messages: list[Message]
    unreadable: list[Row]


class Stored(NamedTuple):
    """How far a destination holds a partition.

    Attributes:
        next_offset: the first offset that it does not hold; None if it has none of this topic.
        former_id: id of an earlier topic of this name, if it has records of that one only.
    """

    next_offset: int | None
    former_id: str | None = None


class Loss(NamedTuple):
    """Records that are gone from a topic before they were stored.

    Attributes:
        first: the first offset that is gone; of the earlier topic, if the topic was created again.
        last: the last one; None if nobody knows.
        reason: `retention` or `created_again`.
        expected: what the destination holds; see `Stored.next_offset`.
        resume: the offset to go on at.
    """

    origin: Origin
    first: int
    last: int | None
    reason: str
    expected: int | None
    resume: int


class FencedError(Exception):
    """Another sink has stored these records meanwhile. Nothing of the batch was stored."""


class Store(Protocol):
    """A destination. Its methods raise `DependencyDownError` while it cannot be reached or written."""

    def prepare(self, topics: dict[str, str]) -> None:
        """Make it ready for tables of these topics.

        Raises:
            UserError: it holds records of another topic.
        """
        ...

    def columns(self, table: str) -> dict[str, Column]:
        """The columns of a table by field, besides those of all tables; none if it does not exist yet."""
        ...

    def start(self, origin: Origin) -> Stored:
        """Look up how far it holds a partition, of which this sink writes the rows from now on."""
        ...

    def release(self, origin: Origin) -> None:
        """This sink does not write the partition's rows any more."""
        ...

    def skip(self, loss: Loss) -> None:
        """Note that records are gone, and go on behind them.

        Raises:
            FencedError: another sink writes the partition's rows.
        """
        ...

    def write(self, parts: Sequence[Part]) -> int:
        """Store all parts and their offsets, or nothing.

        Returns:
            How many further rows the destination refused; they are among the unreadable records.

        Raises:
            FencedError: another sink writes the rows of one of the partitions.
        """
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


def part_of(table: Table, origin: Origin, expected: int | None, first: int, messages: Sequence[Message]) -> Part:
    """Decode the next messages of a partition; for the other arguments, see `Part`.

    Raises:
        DependencyDownError: the schema registry does not answer.
    """
    rows: list[Row] = []
    of_rows: list[Message] = []
    unreadable: list[Row] = []
    for message in messages:
        try:
            rows.append(record_row(message, origin.topic_id) | table.values(message))
            of_rows.append(message)
        except UnreadableValueError as error:
            unreadable.append(unreadable_row(message, origin.topic_id, table.name, error.reason, str(error)))
    return Part(table, origin, expected, first, messages[-1].offset() + 1, rows, of_rows, unreadable)


def refused_row(part: Part, message: Message, error: Exception) -> Row:
    """The unreadable record in place of a row that the destination refuses."""
    return unreadable_row(message, part.origin.topic_id, part.table.name, REFUSED, str(error))
