"""Replay exclusions: records that were dead letters when they were live, which a window rebuild leaves out.

A rebuild decodes and checks the log again, and a record that was a dead letter may pass today: its schema has been
registered, or the pipeline has become lenient. In the windows it would change them, and its redriven copy would be
dropped as a duplicate of a reading that was never scored. So the dead letters themselves say what to leave out.
"""

from collections.abc import Callable

import numpy as np
from confluent_kafka import Message

from common.arrays import Int
from common.dead_letter_reasons import DeadLetterReason
from worker.config.pipeline import Pipeline
from worker.encode.dead_letter import letter_of
from worker.kafka.message import stamped_by_broker, time_of
from worker.kafka.topic_reader import Span, TopicReader, UnreadableBatchError
from worker.windows.partition import Partition

_CLOCKS_APART_MS = 600_000  # of brokers, where the dead-letter topic has `LogAppendTime`


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
        topic_id: of the input topic; empty where it is not known. Letters of a former topic of its name have the same
            offsets.
        partition: as it is taken over.
        beat: called now and then: a long topic takes a while (about 40,000 letters a second).

    Raises:
        DependencyDownError: the broker does not answer or holds a transaction open, or the dead-letter topic cannot be
            read; call again.
    """
    replayed = Span(partition.next_offset, partition.live_from)
    if replayed.low >= replayed.high:
        return np.empty(0, np.int64)
    topic, number = pipeline.outputs.dead_letters.topic, partition.number
    # The end whether committed or not: a transaction whose offsets are committed may still be ending here.
    span = reader.span_while_running(topic, number)
    if span.low >= span.high:
        return np.empty(0, np.int64)
    since_ms = _earliest_letter_ms(reader, pipeline.input.topic, number, replayed)
    if since_ms is not None:
        span = span._replace(low=max(span.low, reader.since(topic, number, since_ms, span.high)))
    excluded = []
    for messages in reader.read(topic, {number: span}):
        beat()
        letters = (letter for message in messages if (letter := letter_of(message)) is not None)
        # A late reading has arrived, in the sense of worker/windows/late_filter.py.
        excluding = (letter for letter in letters if letter.reason != DeadLetterReason.LATE)
        # A broker or a version of ours that knows no ids leaves them out.
        sources = (letter.source for letter in excluding if not topic_id or letter.topic_id in {"", topic_id})
        excluded += [
            offset
            for name, of, offset in sources
            if (name, of) == (pipeline.input.topic, number) and replayed.low <= offset < replayed.high
        ]
    return np.unique(np.array(excluded, np.int64))


def _earliest_letter_ms(reader: TopicReader, topic: str, number: int, replayed: Span) -> int | None:
    """Kafka timestamp before which there is no letter of the replayed records, ms; None where that is not known."""
    try:
        first = _first(reader, topic, number, replayed)
    except UnreadableBatchError:
        return None
    # Such timestamps ascend with the offsets, and no letter has an earlier one than its original.
    return time_of(first) - _CLOCKS_APART_MS if first is not None and stamped_by_broker(first) else None


def _first(reader: TopicReader, topic: str, number: int, span: Span) -> Message | None:
    for messages in reader.read(topic, {number: span}):
        if messages:
            return messages[0]
    return None
