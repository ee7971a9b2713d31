"""The newest rows of a pipeline's input topic."""

import pandas as pd

from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.registry import registry_at, writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.kafka.message import headers_of, value_of
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_reader import Span, TopicReader


def recent_rows(settings: Settings, pipeline: Pipeline, count: int) -> pd.DataFrame:
    """Decode the newest records of each partition, about `count` in all; unreadable ones are left out.

    Raises:
        UserError: there is no such topic.
        DependencyDownError: broker or registry does not answer.
    """
    source = pipeline.input
    lookup = writer_schema_lookup(registry_at(settings.registry_url), pipeline.known_schemas)
    records = []
    with TopicReader(reachable_config(settings.bootstrap_servers)) as reader:
        spans = reader.spans(source.topic)
        each = -(-count // max(len(spans), 1))
        newest = {number: Span(max(span.low, span.high - each), span.high) for number, span in spans.items()}
        for messages in reader.read(source.topic, newest):
            for message in messages:
                try:
                    value = value_of(message) or b""
                    records.append(decode(value, lookup, source.avro_schema, headers_of(message), source.utc_offset_ms))
                except UnreadableValueError:
                    continue
    return pd.DataFrame(records)
