"""Replay exclusions: records that were dead letters when they were live, which a window rebuild leaves out.

A rebuild decodes and checks the log again, and a record that was a dead letter may pass today: its schema was
registered, or the pipeline became lenient. It would change the windows, and its redriven copy would be dropped as a
duplicate of a reading that was never scored. So the rebuild leaves out what the dead letters name.
"""

from collections.abc import Callable

import numpy as np
from confluent_kafka import Message

from common.arrays import Int
from common.dead_letter_reasons import IN_WINDOWS
from worker.config.pipeline import Pipeline
from worker.kafka.message import stamped_by_broker, time_of
from worker.kafka.topic_reader import Span, TopicReader, UnreadableBatchError
from worker.recover.partition_letters import letters_about
from worker.windows.partition import Partition

_CLOCKS_APART_MS = 600_000  # largest difference of broker clocks, if the dead-letter topic has `LogAppendTime`


def replay_exclusions(
    reader: TopicReader,
    pipeline: Pipeline,
    topic_id: str,
    partition: Partition,
    beat: Callable[[], None] = lambda: None,
) -> Int:
    """Offsets that the replay of a partition leaves out, ascending, shape [n].

    Args:
        reader: of any topic.
        pipeline: names the topics.
        topic_id: see `letters_about`.
        partition: with the offsets to replay.
        beat: see `letters_about`.

    Raises:
        DependencyDownError: the broker does not answer or holds a transaction open, or the dead-letter topic cannot be
            read; call again.
    """
    replayed = Span(partition.next_offset, partition.live_from)
    if replayed.low >= replayed.high:
        return np.empty(0, np.int64)
    topic, number = pipeline.outputs.dead_letters.topic, partition.number
    # To the uncommitted end: a transaction whose offsets are committed may still be ending in this topic.
    span = reader.span_while_running(topic, number)
    if span.low >= span.high:
        return np.empty(0, np.int64)
    since_ms = _earliest_letter_ms(reader, pipeline.input.topic, number, replayed)
    if since_ms is not None:
        span = span._replace(low=max(span.low, reader.since(topic, number, since_ms, span.high)))
    letters = letters_about(reader, pipeline, topic_id, number, span, beat)
    offsets = (letter.source[2] for letter in letters if letter.reason not in IN_WINDOWS)
    return np.unique(np.array([offset for offset in offsets if replayed.low <= offset < replayed.high], np.int64))


def _earliest_letter_ms(reader: TopicReader, topic: str, number: int, replayed: Span) -> int | None:
    """Kafka timestamp before which there is no letter of the replayed records, ms; None if that is not known."""
    try:
        first = _first(reader, topic, number, replayed)
    except UnreadableBatchError:
        return None
    # Timestamps of the broker ascend with the offsets, and no letter is older than its record.
    return time_of(first) - _CLOCKS_APART_MS if first is not None and stamped_by_broker(first) else None


def _first(reader: TopicReader, topic: str, number: int, span: Span) -> Message | None:
    for messages in reader.read(topic, {number: span}):
        if messages:
            return messages[0]
    return None
