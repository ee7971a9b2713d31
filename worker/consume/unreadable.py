"""Batches of the input that the client cannot read: how they are reported and skipped.

The broker stores a batch as its producer made it. A batch stops its partition if it decompresses to more than the
client allows, was corrupted on disk, or has an unknown compression, because its contents are not known.
"""

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from common.dead_letter_reasons import DeadLetterReason
from common.errors import DependencyDownError, RecreatedError, UserError
from worker.config.pipeline import Pipeline
from worker.consume.assigned_partition import UnreadableBatch
from worker.consume.assignment import Assignment
from worker.encode.dead_letter import LAST_OFFSET, Original, letter_headers
from worker.kafka.client_config import consumer, error_text
from worker.kafka.message import is_unreadable
from worker.kafka.publisher import Publisher
from worker.kafka.records import Outgoing, Record
from worker.kafka.topic_reader import TopicReader
from worker.observe.metrics import Metrics
from worker.recover.partition_letters import letters_about
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_PATIENCE_S = 10.0
_HELD_S = 60.0


class Continuation(NamedTuple):
    """How to continue after a batch that cannot be read.

    Attributes:
        next_offset: the first offset after it.
        letter: the dead letter to commit with that offset; None in a rebuild, because it was committed before.
    """

    next_offset: int
    letter: Record | None


def parse_places(text: str) -> frozenset[tuple[int, int]]:
    """Partitions and offsets from a text such as `3/512,7/9`.

    Raises:
        UserError: it is no such text.
    """
    places = [place.strip() for place in text.split(",") if place.strip()]
    if not all(re.fullmatch(r"[0-9]{1,9}/[0-9]{1,18}", place) for place in places):
        raise UserError(f"HAZARDSTREAM_SKIP_UNREADABLE={text}: write PARTITION/OFFSET, as /ready names it, with commas")
    return frozenset((int(number), int(offset)) for number, _, offset in (place.partition("/") for place in places))


def skipped_batches(
    reader: TopicReader, pipeline: Pipeline, topic_id: str, number: int, beat: Callable[[], None] = lambda: None
) -> list[range]:
    """Offsets of the batches of an input partition that were skipped, read from the dead letters.

    Args:
        reader: of any topic.
        pipeline: names the topics.
        topic_id: of the input; empty where it is not known.
        number: of the partition.
        beat: called regularly, because reading many dead letters takes time.

    Raises:
        DependencyDownError: the dead-letter topic cannot be read now.
    """
    span = reader.span_while_running(pipeline.outputs.dead_letters.topic, number)
    letters = letters_about(reader, pipeline, topic_id, number, span, beat)
    return [
        range(letter.source[2], letter.last_offset + 1)
        for letter in letters
        if letter.reason == DeadLetterReason.UNREADABLE
    ]


class Unreadable:
    """Reports batches that cannot be read, and skips those that the user wants to skip.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        skip: partition and offset of each batch to skip.
        assignment: the partitions.
        publisher: commits the dead letters.
        metrics: counts them.
        beat: called regularly while a long dead-letter topic is read.
    """

    def __init__(
        self,
        config: dict[str, Any],
        pipeline: Pipeline,
        skip: frozenset[tuple[int, int]],
        assignment: Assignment,
        publisher: Publisher,
        metrics: Metrics,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._beat = beat
        self._assignment, self._publisher, self._metrics = assignment, publisher, metrics
        self._config, self._pipeline, self._skip = config, pipeline, skip
        self._topic = pipeline.input.topic
        self._letters = pipeline.outputs.dead_letters.topic

    def reasons(self) -> dict[int, str]:
        """By partition, why it cannot go on. A batch that a partition is past is forgotten."""
        reasons = {}
        for each, partition in self._assignment.ready():
            if each.unreadable and partition.next_offset > each.unreadable.offset:
                each.unreadable = None
            if each.unreadable:
                reasons[each.number] = each.unreadable.reason
        return reasons

    def handle(self, message: Message, partition: Partition, span_ms: int) -> None:
        """Skip a batch that could not be read if that is allowed, else hold its partition.

        Raises:
            AbortedError, UncertainError: see `Publisher.commit`.
            DependencyDownError: the broker does not answer.
        """
        number = partition.number
        continuation = self._continuation(message, partition)
        if continuation is None:
            first_of_all = (message.offset() or 0) <= partition.next_offset
            self._assignment.hold(number, "a batch that can be read", _HELD_S if first_of_all else 0.0)
            return
        if continuation.letter is not None:
            place = self._assignment.place(partition, continuation.next_offset, partition.clock, span_ms)
            try:
                self._assignment.topic.ask()
                self._assignment.topic.confirm()
            except RecreatedError:
                self._assignment.start_over()
                return
            self._publisher.commit(Outgoing({}, [continuation.letter]), [place])
            self._metrics.dead_letters.labels(DeadLetterReason.UNREADABLE).inc()
        partition.advance(continuation.next_offset, partition.clock, span_ms)
        self._assignment.progressed()
        self._assignment.rewind()

    def _continuation(self, message: Message, partition: Partition) -> Continuation | None:
        """How to continue after this batch; None if that is not possible (yet)."""
        number, fault = partition.number, message.error().str()
        offset = max(message.offset() or 0, partition.next_offset)
        reason = self._reason(number, offset, partition, fault)
        self._assignment.assigned[number].unreadable = UnreadableBatch(offset, reason)
        if offset > partition.next_offset:
            return None  # earlier messages are processed first
        if offset < partition.live_from:
            end = self._skipped_before(number, offset)
            return None if end is None else Continuation(end, None)
        if (number, offset) not in self._skip:
            return None
        end = self._end(number, message.offset() or 0, offset)
        _LOG.error("skipping a batch that cannot be read", partition=number, first=offset, last=end - 1, reason=fault)
        return Continuation(end, self._letter(number, offset, end, fault))

    def _reason(self, number: int, offset: int, partition: Partition, fault: str) -> str:
        if offset < partition.live_from:
            remedy = "It was readable when it was scored: raise receive.message.max.bytes to its value at that time"
        else:
            remedy = (
                "If it inflates to more than receive.message.max.bytes, raise that in KAFKA_CONFIG_FILE. "
                f"To give it up, start the worker with HAZARDSTREAM_SKIP_UNREADABLE={number}/{offset}: "
                "a dead letter will record the skipped offsets"
            )
        return f"the batch at offset {offset} cannot be read: {fault}. {remedy}"

    def _letter(self, number: int, offset: int, end: int, fault: str) -> Record:
        original = Original(self._topic, number, offset, self._assignment.topic.topic_id)
        message = f"offsets {offset} to {end - 1} were skipped: {fault}"
        headers = letter_headers(original, DeadLetterReason.UNREADABLE, message) | {LAST_OFFSET: str(end - 1)}
        return Record(self._letters, number, None, None, [(name, text.encode()) for name, text in headers.items()])

    def _skipped_before(self, number: int, offset: int) -> int | None:
        """The offset after the batch, if a dead letter shows that it was skipped when it was live."""
        with TopicReader(self._config, _PATIENCE_S) as reader:
            skipped = skipped_batches(reader, self._pipeline, self._assignment.topic.topic_id, number, self._beat)
        return next((batch.stop for batch in skipped if offset in batch), None)

    def _end(self, number: int, base: int, offset: int) -> int:
        """The first offset after the batch that starts at `base`. The client only shows whether an offset is in it."""
        probe = consumer(
            self._config
            | {"group.id": "hazardstream-lookup", "enable.auto.commit": False, "enable.partition.eof": True}
            | {"isolation.level": "read_uncommitted", "auto.offset.reset": "error"}
        )
        try:
            inside, step = offset, 1
            while self._is_in(probe, number, base, inside + step):
                inside, step = inside + step, 2 * step
            outside = inside + step
            while outside - inside > 1:
                middle = (inside + outside) // 2
                inside, outside = (middle, outside) if self._is_in(probe, number, base, middle) else (inside, middle)
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, probe)) from error
        finally:
            probe.close()
        return outside

    def _is_in(self, probe: Consumer, number: int, base: int, offset: int) -> bool:
        _, high = probe.get_watermark_offsets(TopicPartition(self._topic, number), _PATIENCE_S)
        if offset >= high:
            return False
        probe.assign([TopicPartition(self._topic, number, offset)])
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            message = probe.poll(0.5)
            if message is None or message.partition() != number:
                continue
            if message.error() is None or message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return False
            if is_unreadable(message):
                return bool(message.offset() == base)
        raise DependencyDownError("broker", f"the end of an unreadable batch in {self._topic}/{number} cannot be found")
