"""Rebuilds windows from the log for a model with other features, while the loop continues with the old model."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import structlog

from common.dead_letter_reasons import IN_WINDOWS
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.consume.message_columns import batch_of
from worker.consume.unreadable import skipped_batches
from worker.kafka.topic_reader import Span, TopicReader, UnreadableBatchError
from worker.recover.replay_exclusions import replay_exclusions
from worker.recover.start_offsets import rebuild_since_ms
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
# A rebuild that is no more than this many messages behind the loop stops reading the log. It gets the loop's batches.
_FOLLOW_WITHIN = 20_000
# How many of these batches may be left for the loop to process at the swap.
_PENDING_AT_SWAP = 1


class PartitionsChangedError(Exception):
    """Partitions came or went during the rebuild, so it has to start again."""


class WindowRebuild:
    """One rebuild. Its scorer holds the windows of the next model and scores nothing.

    Args:
        scorer: a scorer with the next model and no partitions.
        pipeline: names the topic.
        reader: reads the input topic.
        topic_id: id of the input topic; empty if the broker has none.

    Attributes:
        following: whether the loop passes each merged batch to this rebuild.
    """

    def __init__(self, scorer: Scorer, pipeline: Pipeline, reader: TopicReader, topic_id: str) -> None:
        self._scorer, self._pipeline, self._reader, self._topic_id = scorer, pipeline, reader, topic_id
        self._partitions: dict[int, Partition] = {}
        self._pending: deque[tuple[Batch, dict[int, int]]] = deque()
        self._lock = threading.Lock()
        self.following = False

    # In the loop, between two batches ---------------------------------------------------------------------------

    def places(self, live: Scorer, partitions: dict[int, Partition]) -> dict[int, tuple[int, int]] | None:
        """The loop's position in each partition. Once this rebuild is close to it, follow the loop's batches.

        Returns:
            By partition, next offset and stream time (ms); None while the loop itself rebuilds a partition.

        Raises:
            PartitionsChangedError: partitions came or went.
        """
        if any(p.next_offset < p.live_from for p in partitions.values()):
            return None
        if self._partitions and self._partitions.keys() != partitions.keys():
            raise PartitionsChangedError
        if any(p.next_offset < self._offset(n) for n, p in partitions.items()):
            raise PartitionsChangedError
        behind = sum(p.next_offset - self._offset(n) for n, p in partitions.items())
        if not partitions or (self._partitions and behind <= _FOLLOW_WITHIN):
            live.follow, self.following = self._follow, True
        return {n: (p.next_offset, p.clock) for n, p in partitions.items()}

    def take_over(self, live: Scorer, partitions: dict[int, Partition], policy: AlarmPolicy | None) -> bool:
        """Have the loop continue with the next model and these windows.

        Returns:
            False if too many batches are left; call again.

        Raises:
            PartitionsChangedError: partitions came or went.
        """
        with self._lock:
            if len(self._pending) > _PENDING_AT_SWAP:
                return False
            self._process_pending()
        if {n: self._offset(n) for n in self._partitions} != {n: p.next_offset for n, p in partitions.items()}:
            raise PartitionsChangedError
        live.adopt(self._scorer.model, policy, self._scorer.plan, self._scorer.windows)
        for number, rebuilt in self._partitions.items():
            partitions[number].adopt_windows(rebuilt)
        return True

    def leave(self, live: Scorer, _partitions: dict[int, Partition]) -> None:
        """Follow no more batches."""
        live.follow = None

    def _follow(self, outcome: Outcome) -> None:
        # A record that is a dead letter now could pass a second check. It must stay out of the windows all the same.
        excluded = [r.row for r in outcome.rejections if r.reason not in IN_WINDOWS]
        batch = outcome.batch
        if excluded:
            batch = batch.take(np.delete(np.arange(len(batch)), excluded))
        self._pending.append((batch, outcome.next_offsets))

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
        """Process the batches that the loop has merged meanwhile, until at most `_PENDING_AT_SWAP` is left."""
        while len(self._pending) > _PENDING_AT_SWAP:
            with self._lock:
                self._process_pending(1)

    def _begin(self, number: int, offset: int, clock: int) -> Partition:
        topic, span_ms = self._pipeline.input.topic, self._scorer.windows.rebuild_span_ms
        low = self._reader.spans(topic, {number})[number].low
        since = self._reader.since(topic, number, rebuild_since_ms(clock, span_ms, self._pipeline), offset)
        start = max(min(since, offset), low)
        _LOG.info("windows are rebuilt for the next model", partition=number, rebuild_from=start, to=offset)
        return Partition(number, start, offset)

    def _read(self, partition: Partition) -> None:
        try:
            self._read_span(partition.number, Span(partition.next_offset, partition.live_from))
        except UnreadableBatchError:
            # The loop has skipped it. Dead letters are searched for that only now, because they may be many.
            skipped = skipped_batches(self._reader, self._pipeline, self._topic_id, partition.number)
            for span in _outside(Span(partition.next_offset, partition.live_from), skipped):
                self._read_span(partition.number, span)

    def _read_span(self, number: int, span: Span) -> None:
        for messages in self._reader.read(self._pipeline.input.topic, {number: span}):
            if messages:
                self._merge(batch_of(messages))

    def _offset(self, number: int) -> int:
        return self._partitions[number].next_offset if number in self._partitions else 0

    def _process_pending(self, at_most: int = _PENDING_AT_SWAP) -> None:
        for _ in range(min(at_most, len(self._pending))):
            batch, next_offsets = self._pending[0]
            if next_offsets.keys() - self._partitions.keys():
                raise PartitionsChangedError
            for number, offset in next_offsets.items():
                self._partitions[number].live_from = offset
            if len(batch):
                self._merge(batch)
            for number, offset in next_offsets.items():
                self._partitions[number].next_offset = offset
            self._pending.popleft()

    def _merge(self, batch: Batch) -> None:
        self._scorer.merge(self._scorer.process(batch, self._partitions), self._partitions)


def _outside(span: Span, skipped: Iterable[range]) -> Iterator[Span]:
    """The parts of a span outside the batches that were skipped."""
    low = span.low
    for batch in sorted(skipped, key=lambda batch: batch.start):
        if low < batch.stop and batch.start < span.high:
            yield Span(low, max(batch.start, low))
            low = batch.stop
    yield Span(low, max(span.high, low))
