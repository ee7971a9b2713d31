"""Finds out what a topic holds of some keys, so that a producer can go on after it."""

from collections import deque
from collections.abc import Collection

from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.registry import registry_at, writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import client_config
from worker.kafka.message import key_of, value_of
from worker.kafka.topic_reader import MANY, Span, TopicReader

_LAST = 20_000
"""Records at the end of each partition that are looked at."""
_OF_A_KEY = 4
"""Newest records of a key that are decoded: the very last one may be bad."""
_PATIENCE_S = 10.0


def newest_times(
    pipeline: Pipeline, keys: Collection[str], until_ms: int, *, bootstrap: str | None, registry: str | None
) -> dict[str, int]:
    """The newest event time (ms) of each key among the last records of the input topic; without a record, no entry.

    Args:
        pipeline: names topic, key and time.
        keys: to look for.
        until_ms: later times do not count: workers refuse them.
        bootstrap: broker addresses; by default those of the environment.
        registry: address of the schema registry, if values may need one.

    Raises:
        UserError: there is no such topic.
        DependencyDownError: broker or registry does not answer.
    """
    source, wanted = pipeline.input, {key.encode() for key in keys}
    lookup = writer_schema_lookup(registry_at(registry), pipeline.known_schemas)
    last: dict[bytes, deque[bytes]] = {}
    times: dict[str, int] = {}
    with TopicReader(client_config(bootstrap), _PATIENCE_S, MANY) as reader:
        spans = {n: Span(max(s.low, s.high - _LAST), s.high) for n, s in reader.spans(source.topic).items()}
        for messages in reader.read(source.topic, spans):
            for message in messages:
                key, value = key_of(message), value_of(message)
                if key is not None and key in wanted and value is not None:
                    last.setdefault(key, deque(maxlen=_OF_A_KEY)).append(value)
    for key, values in last.items():
        for value in values:
            try:
                record = decode(value, lookup, source.avro_schema, utc_offset_ms=source.utc_offset_ms)
            except UnreadableValueError:
                continue
            if record[source.time] <= until_ms:
                times[key.decode()] = max(record[source.time], times.get(key.decode(), 0))
    return times
