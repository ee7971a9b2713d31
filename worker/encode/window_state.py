"""Records of window state: the buckets that a batch changes, and those that it moves out of all windows."""

import re
from collections.abc import Callable, Container, Iterator
from functools import lru_cache

import numpy as np

from common.arrays import NEVER
from schemas.columnar_encoder import Column, Nullable, encode_columns
from schemas.text_column import TextColumn
from schemas.wire import single_object_prefix
from worker.config.pipeline import Pipeline
from worker.config.window_state_schema import last_field
from worker.kafka.records import Bulk, Outgoing
from worker.score.aggregates import AggregatedBatch
from worker.score.outcome import Outcome
from worker.windows.aggregates import Layout, RingPlan
from worker.windows.ring import Buckets

_SEPARATOR = b"|"
_LENGTH_AND_START = re.compile(rb"(\d{1,18})\|(-?\d{1,18})")  # they fit 64 bits


def record_key(key: bytes, bucket_ms: int, bucket: int) -> bytes:
    """The Kafka key of a bucket's record: key, length of the bucket (ms) and its start (ms)."""
    return b"%b|%d|%d" % (key, bucket_ms, bucket * bucket_ms)


def parse_record_key(text: bytes) -> tuple[bytes, int, int] | None:
    """Key, length (ms) and number of a bucket; None if another program wrote the record."""
    at = text.rfind(_SEPARATOR, 0, max(text.rfind(_SEPARATOR), 0))
    bucket = _bucket(text[at + 1 :]) if at >= 0 else None
    return bucket and (text[:at], *bucket)


@lru_cache(4096)  # many keys have a bucket of the same time
def _bucket(text: bytes) -> tuple[int, int] | None:
    numbers = _LENGTH_AND_START.fullmatch(text)
    length, start = map(int, numbers.groups()) if numbers else (0, 0)
    return (length, start // length) if length and start % length == 0 else None


class WindowStateOutput:
    """Publishes what aggregates need after a restart (a side output).

    Args:
        pipeline: one with aggregates.
        prefix: of the wire format; single-object encoding if empty.
        topic_id: gives the id of the input topic.
    """

    def __init__(self, pipeline: Pipeline, prefix: bytes, topic_id: Callable[[], str]) -> None:
        record, layout = pipeline.records["window_state"], pipeline.layout
        if layout is None:
            raise TypeError("the pipeline has no aggregates")
        self._topic, self._schema, self._layout = pipeline.topics["window_state"], record.schema, layout
        self._prefix, self._topic_id = prefix or single_object_prefix(record.schema), topic_id

    def begin(self, _outcome: Outcome, _assigned: Container[int]) -> None:
        """See SideOutput. There is nothing to begin."""

    def records(self, outcome: Outcome, _assigned: Container[int]) -> Outgoing:
        """See SideOutput."""
        return Outgoing({}, []) if outcome.aggregated is None else self.outgoing(outcome.aggregated)

    def outgoing(self, batch: AggregatedBatch) -> Outgoing:
        """Records of all buckets that a batch changes."""
        bulk: Bulk = {}
        written: dict[tuple[int, bytes], bytes | None] = {}
        for gone in batch.deleted():
            written[gone.partition, record_key(gone.key, gone.bucket_ms, gone.number)] = None
        # A bucket of a forgotten key may be deleted and written again. The client may swap two records of one batch.
        for ring, buckets in zip(self._layout.rings, batch.staged.written, strict=True):
            written |= self._encoded(batch, ring, buckets)
        for (partition, key), value in written.items():
            bulk.setdefault((self._topic, partition), []).append({"key": key, "value": value})
        return Outgoing(bulk, [])

    def committed(self, _outcome: Outcome) -> None:
        """See SideOutput. The scorer merges the batch."""

    def aborted(self) -> None:
        """See SideOutput. Nothing was kept."""

    def _encoded(
        self, batch: AggregatedBatch, ring: RingPlan, buckets: Buckets
    ) -> Iterator[tuple[tuple[int, bytes], bytes]]:
        """Records by partition and Kafka key."""
        keys = [batch.keys[key] for key in buckets.key.tolist()]
        columns = bucket_columns(self._layout, ring, buckets, batch)
        columns |= {"key": TextColumn.of(keys), "source_topic_id": self._topic_id()}
        values = encode_columns(self._schema, columns, len(keys), self._prefix) if keys else []
        partitions = batch.partition[buckets.key].tolist()
        for partition, key, bucket, value in zip(partitions, keys, buckets.number.tolist(), values, strict=True):
            yield (partition, record_key(key, ring.bucket_ms, bucket)), value


def bucket_columns(layout: Layout, ring: RingPlan, buckets: Buckets, batch: AggregatedBatch) -> dict[str, Column]:
    """Fields of the records of one ring's buckets."""
    times = batch.staged.times.take(buckets.key)
    nothing = np.zeros(len(buckets.key), np.int64)
    null = Nullable(nothing, nothing != 0)
    columns: dict[str, Column] = {
        "bucket_ms": nothing + ring.bucket_ms,
        "bucket_ts": buckets.number * ring.bucket_ms,
        "newest_ts": times.newest,
        "clock_ts": times.clock,
        "source_offset": times.next_offset - 1,
    }
    for at, selection in enumerate(layout.last):
        last = times.last[:, at]
        columns[last_field(layout.selections[selection].name)] = Nullable(last, last > NEVER)
    for plan in layout.rings:
        columns |= {layout.column_name(column): null for column in plan.columns}
    for at, column in enumerate(ring.columns):
        values = buckets.content[:, at]
        columns[layout.column_name(column)] = Nullable(values, np.isfinite(values))
    return columns
