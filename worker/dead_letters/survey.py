"""Dead letters as they stand in their topic: what each says, which are asked for, and which were redriven.

That a letter was redriven is told by a *marker*: a record without key and value, later in the same partition, whose
header `hazardstream.redriven` names offsets. It is committed in one transaction with the records that it speaks of
(worker/dead_letters/redrive.py). Retention takes a log from its front, so no letter outlives its marker.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from worker.encode.encoder import ERRORS, LAST_OFFSET, OMITTED, REASON, TIME, TOPIC_ID
from worker.kafka.message import Headers, headers_of, key_of, time_of, value_of
from worker.kafka.topic_reader import Span, Spans, TopicReader
from worker.windows.feature_spec import Bool, Int

REDRIVEN = "hazardstream.redriven"
ATTEMPT = "hazardstream.redrive_attempt"
ORIGIN = "hazardstream.redriven_from"
_KEYS_COUNTED, _REASONS_COUNTED = 200_000, 1000
_REASON = re.compile(r"[a-z0-9_]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")  # an offset, that is, a number of 64 bits
_MARKER = re.compile(rb"[0-9]{1,18}(-[0-9]{1,18})?(,[0-9]{1,18}(-[0-9]{1,18})?)*")

Addresses: TypeAlias = Mapping[int, Int]
"""Offsets in ascending order, by partition."""
Progress: TypeAlias = Callable[[int], None]


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
        """The last offset that the letter speaks of: that of the original, but where a whole batch was skipped."""
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
