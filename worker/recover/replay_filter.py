"""Which records of a rebuild were dead letters when they were live.

A rebuild judges the log anew, and what was refused then may pass today: the schema has been registered, the pipeline
made lenient. Taken into the windows it would make them others than they were, and its redriven copy a duplicate of a
reading that nobody ever scored. So the dead letters themselves say what is to be left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from common.arrays import Int
from common.dead_letter_reasons import DeadLetterReason
from worker.config.pipeline import Pipeline
from worker.encode.dead_letter import letter_of
from worker.kafka.message import stamped_by_broker, time_of
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import LOOP_PATIENCE_S, TopicReader

_CLOCKS_APART_MS = 600_000  # of brokers, where the dead-letter topic has `LogAppendTime`


def refused_before(
    admin: AdminClient,
    config: dict[str, Any],
    pipeline: Pipeline,
    beat: Callable[[], None],
    first: Message,
    live_from: int,
) -> Int:
    """Offsets of the input partition, in ascending order, that were refused before they reached the windows.

    Args:
        admin: asks for the id of the input topic: letters of a former topic of its name have the same offsets.
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        beat: called now and then: a long topic takes a while (some 40,000 letters a second), and that is no standstill.
        first: the first record of the rebuild.
        live_from: offset behind the last one.

    Raises:
        DependencyDownError: the broker does not answer or holds a transaction open, or the dead-letter topic cannot be
            read; call again.
    """
    topic, number = pipeline.outputs.dead_letters.topic, first.partition()
    time_ms = time_of(first)
    topic_id = topic_id_of(admin, pipeline.input.topic)
    refused = []
    with TopicReader(config, LOOP_PATIENCE_S) as reader:
        # The end whether committed or not: a transaction whose offsets are committed may still be ending here.
        span = reader.span_while_running(topic, number)
        if stamped_by_broker(first):  # ascends with the offsets, and no letter has an earlier time than its original
            since = reader.since(topic, number, time_ms - _CLOCKS_APART_MS, span.high)
            span = span._replace(low=max(span.low, since))
        for messages in reader.read(topic, {number: span}):
            beat()
            letters = (letter for message in messages if (letter := letter_of(message)) is not None)
            # A late reading has arrived, in the sense of worker/windows/late_filter.py.
            arrived = (letter for letter in letters if letter.reason != DeadLetterReason.LATE)
            # A broker or a version of ours that knows no ids leaves them out.
            sources = (letter.source for letter in arrived if not topic_id or letter.topic_id in {"", topic_id})
            refused += [
                offset
                for name, partition, offset in sources
                if (name, partition) == (first.topic(), number) and first.offset() <= offset < live_from
            ]
    return np.unique(np.array(refused, np.int64))
