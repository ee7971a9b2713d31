"""Windows for a model with other features: rebuilt from the log beside the loop, kept level with it, and swapped in."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import structlog

from common.dead_letter_reasons import DeadLetterReason
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.consume.message_columns import batch_of
from worker.consume.unreadable import skipped_batches
from worker.kafka.topic_reader import Span, TopicReader
from worker.recover.replay_exclusions import replay_exclusions
from worker.recover.start_offsets import rebuild_since_ms
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
# So near to the loop it is no longer chased through the log: its batches are kept, and gone through when they are due.
_NEAR = 20_000
# Batches that may be left for the loop itself to go through when it changes over.
_LEVEL = 1


class OutrunError(Exception):
    """Partitions came or went meanwhile: rebuild anew."""


class WindowRebuild:
    """One rebuild. Its scorer scores nothing: it holds windows.

    Args:
        scorer: of the model to come, with no partitions yet.
        pipeline: names the topic.
        reader: of the input topic.
        topic_id: of the input topic; empty where the broker has none.
    """

    def __init__(self, scorer: Scorer, pipeline: Pipeline, reader: TopicReader, topic_id: str) -> None:
        self._scorer, self._pipeline, self._reader, self._topic_id = scorer, pipeline, reader, topic_id
        self._partitions: dict[int, Partition] = {}
        self._behind: deque[tuple[Batch, dict[int, int]]] = deque()
        self._lock = threading.Lock()
        self.following = False  # told of each batch of the loop

    # In the loop, between two batches ---------------------------------------------------------------------------

    def places(self, live: Scorer, partitions: dict[int, Partition]) -> dict[int, tuple[int, int]] | None:
        """Where the loop stands: offset and stream time by partition; and be told of its batches once that is near.

        Returns:
            None while a partition's own rebuild is not through.

        Raises:
            OutrunError: partitions came or went.
        """
        if any(p.next_offset < p.live_from for p in partitions.values()):
            return None
        if self._partitions and self._partitions.keys() != partitions.keys():
            raise OutrunError
        if any(p.next_offset < self._offset(n) for n, p in partitions.items()):
            raise OutrunError
        behind = sum(p.next_offset - self._offset(n) for n, p in partitions.items())
        if not partitions or (self._partitions and behind <= _NEAR):
            live.follow, self.following = self._follow, True
        return {n: (p.next_offset, p.clock) for n, p in partitions.items()}

    def take_over(self, live: Scorer, partitions: dict[int, Partition], policy: AlarmPolicy) -> bool:
        """Have the loop go on with this model and its windows; False where they are too far behind as yet.

        Raises:
            OutrunError: partitions came or went.
        """
        with self._lock:
            if len(self._behind) > _LEVEL:
                return False
            self._go_through()
        if {n: self._offset(n) for n in self._partitions} != {n: p.next_offset for n, p in partitions.items()}:
            raise OutrunError
        live.adopt(self._scorer.package, policy, windows_of=self._scorer)
        for number, rebuilt in self._partitions.items():
            partitions[number].adopt_windows(rebuilt)
        return True

    def leave(self, live: Scorer, _partitions: dict[int, Partition]) -> None:
        """Be told of no more batches, whether it took over or not."""
        live.follow = None

    def _follow(self, outcome: Outcome) -> None:
        # What is a dead letter now might pass at a second look, and yet no window has it.
        excluded = [r.row for r in outcome.rejections if r.reason != DeadLetterReason.LATE]
        batch = outcome.batch
        if excluded:
            batch = batch.take(np.delete(np.arange(len(batch)), excluded))
        self._behind.append((batch, outcome.next_offsets))

    # Beside the loop --------------------------------------------------------------------------------------------

    def chase(self, places: dict[int, tuple[int, int]]) -> None:
        """Read the log up to these places.

        Raises:
            DependencyDownError: the broker does not answer.
        """
        for number, (offset, clock) in places.items():
            partition = self._partitions.get(number) or self._begin(number, offset, clock)
            self._partitions[number] = partition
            partition.live_from = offset
            if partition.next_offset < offset:
                partition.exclusions = replay_exclusions(self._reader, self._pipeline, self._topic_id, partition)
                self._read(partition)
            partition.next_offset, partition.exclusions = offset, np.empty(0, np.int64)

    def catch_up(self) -> None:
        """Go through the batches that the loop has been through meanwhile, all but what comes in at the same time."""
        while len(self._behind) > _LEVEL:
            with self._lock:
                self._go_through(1)

    def _begin(self, number: int, offset: int, clock: int) -> Partition:
        topic, span_ms = self._pipeline.input.topic, self._scorer.state.rebuild_span_ms
        low = self._reader.spans(topic, {number})[number].low
        since = self._reader.since(topic, number, rebuild_since_ms(clock, span_ms, self._pipeline), offset)
        start = max(min(since, offset), low)
        _LOG.info("windows are rebuilt for the next model", partition=number, rebuild_from=start, to=offset)
        return Partition(number, start, offset)

    def _read(self, partition: Partition) -> None:
        skipped = skipped_batches(self._reader, self._pipeline, self._topic_id, partition.number)
        for span in _around(Span(partition.next_offset, partition.live_from), skipped):
            for messages in self._reader.read(self._pipeline.input.topic, {partition.number: span}):
                if messages:
                    self._absorb(batch_of(messages))

    def _offset(self, number: int) -> int:
        return self._partitions[number].next_offset if number in self._partitions else 0

    def _go_through(self, at_most: int = _LEVEL) -> None:
        for _ in range(min(at_most, len(self._behind))):
            batch, next_offsets = self._behind[0]
            if next_offsets.keys() - self._partitions.keys():
                raise OutrunError
            for number, offset in next_offsets.items():
                self._partitions[number].live_from = offset
            if len(batch):
                self._absorb(batch)
            for number, offset in next_offsets.items():
                self._partitions[number].next_offset = offset
            self._behind.popleft()

    def _absorb(self, batch: Batch) -> None:
        self._scorer.merge(self._scorer.process(batch, self._partitions), self._partitions)


def _around(span: Span, skipped: Iterable[range]) -> Iterator[Span]:
    """The parts of a span that lie outside of batches that were given up."""
    low = span.low
    for batch in sorted(skipped, key=lambda batch: batch.start):
        if low < batch.stop and batch.start < span.high:
            yield Span(low, max(batch.start, low))
            low = batch.stop
    yield Span(low, max(span.high, low))
