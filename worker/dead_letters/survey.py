"""Dead letters as they stand in their topic: what each says, which are asked for, and which were redriven.

That a letter was redriven is told by a *marker*: a record without key and value, later in the same partition, whose
header `hazardstream.redriven` names offsets. It is committed in one transaction with the records that it speaks of
(worker/dead_letters/redrive.py). Retention takes a log from its front, so no letter outlives its marker.
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
    """Which letters are asked for; what is not given excludes none.

    Attributes:
        from_ms: Kafka timestamp of the earliest original.
        to_ms: Kafka timestamp before which the latest original lies.
        at: partition and offset of the only one, in the dead-letter topic.
    """

    reasons: frozenset[str] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None
    key: bytes | None = None
    at: tuple[int, int] | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether this one is asked for."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.from_ms is None or letter.timestamp_ms >= self.from_ms)
            and (self.to_ms is None or letter.timestamp_ms < self.to_ms)
            and (self.key is None or (letter.key or b"") == self.key)
            and (self.at is None or (letter.partition, letter.offset) == self.at)
        )


@dataclass
class Found:
    """The letters asked for in one partition, as columns over its offsets from `low` on.

    Attributes:
        reason: 0 where there is none, else its number in `Survey.reasons`.
        attempts: how often redriven before, 255 at most.
        redriven: whether a marker says so.
    """

    low: int
    reason: NDArray[np.uint16]
    attempts: NDArray[np.uint8]
    redriven: Bool

    @classmethod
    def over(cls, span: Span) -> "Found":
        """Nothing found yet."""
        size = max(span.high - span.low, 0)
        return cls(span.low, np.zeros(size, np.uint16), np.zeros(size, np.uint8), np.zeros(size, np.bool_))


@dataclass
class Survey:
    """All letters asked for, in four bytes each.

    Attributes:
        reasons: reason codes; number 0 stands for none.
        times_ms: first and last Kafka timestamp of originals by reason.
        keys: letters by key; once `keys_rounded`, the rarest are left out.
        foreign: records that are neither letters of ours nor markers.
    """

    found: dict[int, Found]
    reasons: list[str] = field(default_factory=lambda: [""])
    times_ms: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: Counter[bytes] = field(default_factory=Counter)
    keys_rounded: bool = False
    foreign: int = 0

    def counts(self, which: Callable[[Found], Bool]) -> dict[str, int]:
        """Letters by reason, of those that `which` picks."""
        number = np.zeros(len(self.reasons), np.int64)
        for found in self.found.values():
            number += np.bincount(found.reason[which(found)], minlength=len(self.reasons))
        return {reason: count for reason, count in zip(self.reasons[1:], number[1:].tolist(), strict=True) if count}

    def addresses(self, which: Callable[[Found], Bool], limit: int | None = None) -> dict[int, Int]:
        """Offsets of the letters that `which` picks, the first so many of them."""
        picked, left = {}, limit
        for number, found in sorted(self.found.items()):
            picked[number] = found.low + np.flatnonzero(which(found) & (found.reason > 0))[:left]
            left = None if left is None else left - len(picked[number])
        return picked


def survey(
    reader: TopicReader,
    topic: str,
    spans: Spans,
    selection: Selection,
    *,
    count_keys: bool = False,
    progress: Progress = lambda _: None,
) -> Survey:
    """Go through the whole topic once.

    Raises:
        DependencyDownError: the broker does not answer.
    """
    result = Survey({number: Found.over(span) for number, span in spans.items()})
    numbers = {"": 0}
    for messages in reader.read(topic, spans, progress):
        for message in messages:
            letter = letter_of(message)
            if letter is None:
                _fold_marker(message, result)
            elif letter.reason not in numbers and len(numbers) > _REASONS_COUNTED:
                result.foreign += 1  # no version of ours has so many
            elif selection.takes(letter):
                if letter.reason not in numbers:
                    numbers[letter.reason] = len(numbers)
                    result.reasons.append(letter.reason)
                found = result.found[letter.partition]
                found.reason[letter.offset - found.low] = numbers[letter.reason]
                found.attempts[letter.offset - found.low] = min(letter.attempts, 255)
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
    told = next((value for name, value in headers_of(message) if name == REDRIVEN), None)
    if told is None or not _MARKER.fullmatch(told):
        result.foreign += 1
        return
    found = result.found[message.partition()]
    for first, last in read_offsets(told):  # nothing behind the marker was redriven before it
        found.redriven[max(first - found.low, 0) : max(min(last + 1, message.offset()) - found.low, 0)] = True


def write_offsets(offsets: Iterable[int]) -> bytes:
    """Offsets in ascending order as the text of a marker, such as `3-7,9`."""
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
        ValueError: it is no such text.
    """
    for part in text.decode().split(","):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def letters(
    reader: TopicReader, topic: str, addresses: Addresses, progress: Progress = lambda _: None
) -> Iterator[Letter]:
    """The letters at these addresses, partition after partition, in order.

    Raises:
        DependencyDownError: the broker does not answer.
    """
    for number, offsets in sorted(addresses.items()):
        if not len(offsets):
            continue
        wanted = set(offsets.tolist())
        for messages in reader.read(topic, {number: Span(int(offsets[0]), int(offsets[-1]) + 1)}):
            for message in messages:
                letter = letter_of(message) if message.offset() in wanted else None
                if letter is not None:
                    yield letter
                    progress(1)
