"""One pass over the dead-letter topic: which letters match a selection, and which were redriven.

A *marker* shows that letters were redriven: a record without key and value, later in the same partition, whose header
`hazardstream.redriven` lists their offsets. It is committed in one transaction with the copies that were sent
(worker/dead_letters/redrive.py). Retention deletes a log from its front, so no letter outlives its marker.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from common.arrays import Bool, Int
from worker.encode.dead_letter import REDRIVEN, Letter, letter_of
from worker.kafka.message import headers_of
from worker.kafka.topic_reader import Span, Spans, TopicReader

_KEYS_COUNTED, _REASONS_COUNTED = 200_000, 1000
_MARKER = re.compile(rb"[0-9]{1,18}(-[0-9]{1,18})?(,[0-9]{1,18}(-[0-9]{1,18})?)*")

Addresses: TypeAlias = Mapping[int, Int]
"""Offsets in ascending order, by partition."""
Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True)
class Selection:
    """Which letters to select; an attribute that is not given excludes none.

    Attributes:
        from_ms: smallest Kafka timestamp of an original.
        to_ms: the Kafka timestamps of originals are smaller than this.
        at: partition and offset, in the dead-letter topic, of a single letter.
    """

    reasons: frozenset[str] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None
    key: bytes | None = None
    at: tuple[int, int] | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether it selects this letter."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.from_ms is None or letter.timestamp_ms >= self.from_ms)
            and (self.to_ms is None or letter.timestamp_ms < self.to_ms)
            and (self.key is None or (letter.key or b"") == self.key)
            and (self.at is None or (letter.partition, letter.offset) == self.at)
        )


@dataclass
class PartitionLetters:
    """The selected letters of one partition, as columns over its offsets from `low`.

    Attributes:
        reason: index into `Survey.reasons`; 0 at offsets without a selected letter.
        attempts: how often the record had been redriven before, at most 255.
        redriven: whether a marker says that the letter was redriven.
    """

    low: int
    reason: NDArray[np.uint16]
    attempts: NDArray[np.uint8]
    redriven: Bool

    @classmethod
    def empty(cls, span: Span) -> "PartitionLetters":
        """No letters yet."""
        size = max(span.high - span.low, 0)
        return cls(span.low, np.zeros(size, np.uint16), np.zeros(size, np.uint8), np.zeros(size, np.bool_))


@dataclass
class Survey:
    """All selected letters, in four bytes each.

    Attributes:
        by_partition: of the dead-letter topic.
        reasons: reason codes; the first, empty one means no letter.
        times_ms: first and last Kafka timestamp of the originals, by reason.
        keys: number of letters by key; if `keys_rounded`, rare keys are left out.
        foreign: number of records that are neither letters of ours nor markers.
    """

    by_partition: dict[int, PartitionLetters]
    reasons: list[str] = field(default_factory=lambda: [""])
    times_ms: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: Counter[bytes] = field(default_factory=Counter)
    keys_rounded: bool = False
    foreign: int = 0

    def counts(self, which: Callable[[PartitionLetters], Bool]) -> dict[str, int]:
        """Number of letters by reason, of those for which `which` is true."""
        total = np.zeros(len(self.reasons), np.int64)
        for letters_of in self.by_partition.values():
            total += np.bincount(letters_of.reason[which(letters_of)], minlength=len(self.reasons))
        return {reason: count for reason, count in zip(self.reasons[1:], total[1:].tolist(), strict=True) if count}

    def addresses(self, which: Callable[[PartitionLetters], Bool], limit: int | None = None) -> dict[int, Int]:
        """Offsets by partition of the letters for which `which` is true, at most `limit` of them."""
        picked, left = {}, limit
        for partition, letters_of in sorted(self.by_partition.items()):
            picked[partition] = letters_of.low + np.flatnonzero(which(letters_of) & (letters_of.reason > 0))[:left]
            left = None if left is None else left - len(picked[partition])
        return picked

    def is_redriven(self, letter: Letter) -> bool:
        """Whether a marker says that this letter was redriven."""
        letters_of = self.by_partition[letter.partition]
        return bool(letters_of.redriven[letter.offset - letters_of.low])


def survey(
    reader: TopicReader,
    topic: str,
    spans: Spans,
    selection: Selection,
    *,
    count_keys: bool = False,
    progress: Progress = lambda _: None,
) -> Survey:
    """Read the topic once.

    Raises:
        DependencyDownError: the broker does not answer.
    """
    result = Survey({partition: PartitionLetters.empty(span) for partition, span in spans.items()})
    indexes = {"": 0}
    for messages in reader.read(topic, spans, progress):
        for message in messages:
            letter = letter_of(message)
            if letter is None:
                _fold_marker(message, result)
            elif letter.reason not in indexes and len(indexes) > _REASONS_COUNTED:
                result.foreign += 1  # no release of hazardstream has that many reasons
            elif selection.takes(letter):
                if letter.reason not in indexes:
                    indexes[letter.reason] = len(indexes)
                    result.reasons.append(letter.reason)
                letters_of = result.by_partition[letter.partition]
                letters_of.reason[letter.offset - letters_of.low] = indexes[letter.reason]
                letters_of.attempts[letter.offset - letters_of.low] = min(letter.attempts, 255)
                first, last = result.times_ms.get(letter.reason, (letter.timestamp_ms, letter.timestamp_ms))
                result.times_ms[letter.reason] = min(first, letter.timestamp_ms), max(last, letter.timestamp_ms)
                if count_keys:
                    _count_key(letter.key or b"", result)
    return result


def _count_key(key: bytes, result: Survey) -> None:
    result.keys[key] += 1
    if len(result.keys) > _KEYS_COUNTED:
        result.keys = Counter(dict(result.keys.most_common(_KEYS_COUNTED // 2)))
        result.keys_rounded = True


def _fold_marker(message: Message, result: Survey) -> None:
    marker = next((value for name, value in headers_of(message) if name == REDRIVEN), None)
    if marker is None or not _MARKER.fullmatch(marker):
        result.foreign += 1
        return
    letters_of = result.by_partition[message.partition()]
    for first, last in read_offsets(marker):  # a marker only counts for letters before it
        start, stop = first - letters_of.low, min(last + 1, message.offset()) - letters_of.low
        letters_of.redriven[max(start, 0) : max(stop, 0)] = True


def write_offsets(offsets: Iterable[int]) -> bytes:
    """The text of a marker for these ascending offsets, such as `3-7,9`."""
    ranges: list[list[int]] = []
    for offset in offsets:
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges).encode()


def read_offsets(text: bytes) -> Iterator[tuple[int, int]]:
    """First and last offset of each range.

    Raises:
        ValueError: the text is not a marker's.
    """
    for part in text.decode().split(","):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def letters(
    reader: TopicReader, topic: str, addresses: Addresses, progress: Progress = lambda _: None
) -> Iterator[Letter]:
    """The letters at these addresses, partition by partition, in ascending order.

    Raises:
        DependencyDownError: the broker does not answer.
    """
    for partition, offsets in sorted(addresses.items()):
        if not len(offsets):
            continue
        wanted = set(offsets.tolist())
        for messages in reader.read(topic, {partition: Span(int(offsets[0]), int(offsets[-1]) + 1)}):
            for message in messages:
                letter = letter_of(message) if message.offset() in wanted else None
                if letter is not None:
                    yield letter
                    progress(1)
