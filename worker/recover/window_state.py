"""Reads the aggregates of newly assigned partitions from the compacted topic, while other partitions continue."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import structlog
from confluent_kafka import Message

from common.arrays import Int
from common.errors import DependencyDownError
from common.text import shown
from common.times import HOUR_MS
from worker.config.pipeline import Pipeline
from worker.encode.window_state import parse_record_key
from worker.kafka.message import key_of, value_of
from worker.observe.metrics import Metrics
from worker.recover.authorship import may_be_ours
from worker.recover.compacted_topic import CompactedTopic
from worker.recover.window_state_records import (
    Records,
    Unreadable,
    bucket_content,
    decode_records,
    key_times,
    schema_to_read,
)
from worker.score.aggregates import Deleted, KeyedAggregates
from worker.score.decode import WriterSchemaOf
from worker.windows.aggregates import RingPlan
from worker.windows.partition import Partition
from worker.windows.staged_aggregates import KeyTimes

_LOG = structlog.get_logger(__name__)
_RETRY_S = 2.0  # between two questions to a registry that does not answer
_FOREIGN = b"", 0, 0


class _Buckets(NamedTuple):
    """Buckets of keys, shape [n] each. length: ms; 0 where the record is of another program."""

    keys: list[bytes]
    length: Int
    number: Int

    def take(self, rows: Int) -> "_Buckets":
        return _Buckets([self.keys[row] for row in rows.tolist()], self.length[rows], self.number[rows])


class WindowStateRestore:
    """Reads several partitions at once, a part at each call, straight into the aggregates of the scorer."""

    def __init__(
        self,
        config: dict[str, Any],
        pipeline: Pipeline,
        aggregates: KeyedAggregates,
        writer_schema_of: WriterSchemaOf,
        metrics: Metrics,
    ) -> None:
        self._aggregates, self._writer_schema_of, self._metrics = aggregates, writer_schema_of, metrics
        self._schema = schema_to_read(pipeline.records["window_state"].schema)
        self._topic = CompactedTopic(config, pipeline.topics["window_state"])
        self._topic_ids: dict[int, str] = {}
        self._partitions: dict[int, Partition] = {}
        self._lacking: dict[int, set[str]] = {}
        self._unread: list[Message] = []
        self._down, self._retry_at = "", 0.0

    def begin(
        self, partition: Partition, offsets: range, window_state_id: str, topic_id: str, *, recovered: bool = False
    ) -> None:
        """Start to read a partition.

        Args:
            partition: its `window_state_id` is the id of the topic that held its aggregates. If no windows are rebuilt,
                its clock is advanced to the stream time that the aggregates show.
            offsets: the offsets of the topic to read.
            window_state_id: id of the topic now.
            topic_id: id of the input topic.
            recovered: whether outputs show that readings were scored, without a checkpoint that names the topic.
        """
        number = partition.number
        self.drop(number)
        self._topic_ids[number], self._partitions[number], self._lacking[number] = topic_id, partition, set()
        if partition.live_from > 0:
            self._report_lost(partition, offsets, window_state_id, recovered)
        partition.window_state_id = window_state_id
        self._topic.begin(number, offsets)

    def _report_lost(self, partition: Partition, offsets: range, window_state_id: str, recovered: bool) -> None:
        known = partition.window_state_id
        if known not in {"", window_state_id} or offsets.start > 0 or (recovered and not offsets):
            self._metrics.recreated.labels("window_state").inc()
            _LOG.error(
                "window state was deleted: aggregates lack what was counted before",
                topic=self._topic.topic,
                partition=partition.number,
                advice=f"they are right again after {self._aggregates.layout.longest_ms / HOUR_MS:g} hours of event "
                "time. If that is too long: stop the workers; produce the lost records again from a copy of the topic, "
                "or reset the group to offsets that old, whose readings are then scored and published again",
            )
        elif not known and not offsets:
            _LOG.warning("aggregates count from here: there is no window state yet", partition=partition.number)

    def drop(self, number: int) -> None:
        """Stop reading a partition, and forget what was read."""
        self._aggregates.revoke(number)
        self._topic.drop(number)
        self._unread = [message for message in self._unread if message.partition() != number]

    def advance(self, timeout_s: float) -> None:
        """Read the next messages, waiting up to `timeout_s` seconds for them."""
        if time.monotonic() < self._retry_at:
            return
        self._unread = self._unread or self._topic.messages(timeout_s)
        try:
            while self._unread:
                number = self._unread[0].partition()
                self._restore(number, [m for m in self._unread if m.partition() == number])
                self._unread = [m for m in self._unread if m.partition() != number]
        except DependencyDownError as down:
            self._down, self._retry_at = str(down), time.monotonic() + _RETRY_S

    def missing(self, number: int) -> str | None:
        """A text about what is still to be read of a partition; None if it has been read to the end."""
        if any(message.partition() == number for message in self._unread):
            return f"its window state cannot be read: {self._down}"
        left = self._topic.missing(number)
        return None if left is None else f"its window state is being read back: {left}"

    def finish(self, number: int) -> int:
        """End the reading of a partition; how many keys it has aggregates of."""
        self._topic.drop(number)
        if lacking := self._lacking.pop(number, None):
            _LOG.warning(
                "window state was written by a version of the pipeline without some aggregates: they count from here",
                partition=number,
                fields=sorted(lacking),
            )
        return self._aggregates.restored(number)

    def _restore(self, number: int, messages: list[Message]) -> None:
        newest = dict(zip(map(key_of, messages), range(len(messages)), strict=True))
        latest = [messages[row] for row in sorted(newest.values())]
        texts, values = [key_of(message) or b"" for message in latest], [value_of(message) for message in latest]
        places = [parse_record_key(text) or _FOREIGN for text in texts]
        buckets = _Buckets(
            [key for key, _, _ in places],
            np.array([length for _, length, _ in places], np.int64),
            np.array([bucket for _, _, bucket in places], np.int64),
        )
        deleted, foreign = np.array([value is None for value in values]), buckets.length == 0
        known = np.isin(buckets.length, [ring.bucket_ms for ring in self._aggregates.layout.rings])
        for row in np.flatnonzero(foreign).tolist():
            _LOG.error("a record of window state by another program", partition=number, key=shown(texts[row]))
        for row in np.flatnonzero(~known & ~foreign & ~deleted).tolist():
            self._aggregates.unused(number, Deleted(number, *places[row]))
        for ring, _, those in self._by_ring(buckets.take(np.flatnonzero(known & deleted))):
            self._aggregates.clear(number, ring.bucket_ms, those.keys, those.number)
        wanted = np.flatnonzero(known & ~deleted)
        wanted_values = [values[row] or b"" for row in wanted.tolist()]
        for records in decode_records(wanted_values, self._schema, self._writer_schema_of):
            if isinstance(records, Unreadable):
                self._report_unreadable(number, texts[wanted[records.row]], wanted_values[records.row], records)
            else:
                self._put(number, buckets.take(wanted[records.row]), records)

    def _put(self, number: int, buckets: "_Buckets", records: Records) -> None:
        layout = self._aggregates.layout
        self._lacking[number] |= records.lacking
        for ring, rows, those in self._by_ring(buckets):
            content = bucket_content(layout, ring, records.columns, rows)
            times = key_times(layout, records.columns, rows, self._topic_ids[number])
            self._aggregates.restore(number, ring.bucket_ms, those.keys, those.number, content, times)
            self._advance_clock(self._partitions[number], times)

    @staticmethod
    def _advance_clock(partition: Partition, times: KeyTimes) -> None:
        """Advance to the stream time of the keys: without checkpoint and windows to rebuild, nothing else says it."""
        if partition.next_offset == partition.live_from:
            # Not of a former topic, and not behind an offset that somebody has set back.
            before = (times.next_offset > 0) & (times.next_offset <= partition.live_from)
            partition.clock = int(times.clock[before].max(initial=partition.clock))

    def _by_ring(self, buckets: "_Buckets") -> Iterator[tuple[RingPlan, Int, "_Buckets"]]:
        """For each ring that has some of the buckets, their rows, and these buckets."""
        for ring in self._aggregates.layout.rings:
            rows = np.flatnonzero(buckets.length == ring.bucket_ms)
            if len(rows):
                yield ring, rows, buckets.take(rows)

    def _report_unreadable(self, number: int, key: bytes, value: bytes, unreadable: Unreadable) -> None:
        place = f"the window state of {shown(key)} in {self._topic.topic}/{number}"
        if may_be_ours(value, unreadable.error):
            raise DependencyDownError(
                "schema registry",
                f"{place}: {unreadable.error}. Restore the schemas that the registry had, under their ids. If another "
                "program wrote the record, produce a null value with its key",
            )
        _LOG.error("unreadable window state: it is not counted", place=place, reason=str(unreadable.error))
