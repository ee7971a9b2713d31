"""Follows a topic and prints its records as JSON."""

import math
import time
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from common.errors import DependencyDownError, UserError
from common.json_text import strict_json
from common.terminal import say
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.load import Schema
from schemas.registry import registry_at, writer_schema_lookup
from worker.alarms.alarms import rule_of
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings
from worker.kafka.client_config import consumer, error_text
from worker.kafka.message import headers_of, key_of, value_of
from worker.kafka.permissions import DENIED
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_reader import Spans, TopicReader
from worker.score.decode import WriterSchemaOf

_TIMEOUT_S = 10.0
_QUIET_S = 1.0
_NO_GROUP = "hazardstream-tail"  # the client requires one; without --group none is joined, and nothing is committed
_FIXED = {
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,  # only what was printed is stored, and then committed
    "auto.commit.interval.ms": 1000,
}


class Tail(NamedTuple):
    """What the command line says.

    Attributes:
        topic: name of a topic, or its role in the pipeline.
        from_beginning: start with the first record; with a group only where it has committed nothing yet.
        limit: number of records after which to stop.
        group: consumer group that remembers what was printed.
    """

    topic: str
    from_beginning: bool
    limit: int | None
    group: str | None


def follow(settings: Settings, asked: Tail) -> None:
    """Print committed records, one JSON object per line, until interrupted or the limit is reached.

    Raises:
        UserError: there is no such topic.
        DependencyDownError: no broker answers.
    """
    pipeline = load_pipeline(settings.pipeline)
    topic = pipeline.topics.get(asked.topic, asked.topic)
    writer_schema_of = writer_schema_lookup(registry_at(settings.registry_url), pipeline.known_schemas)
    config = reachable_config(settings.bootstrap_servers)
    with TopicReader(config) as reader:
        spans = reader.spans(topic)
    source = consumer(config, _FIXED | {"group.id": asked.group or _NO_GROUP})
    try:
        _start(source, topic, spans, asked)
        printed, told_after = 0, time.monotonic() + _QUIET_S
        while asked.limit is None or printed < asked.limit:
            message = source.poll(0.2)
            if message is not None and message.error() is None:
                say(strict_json(_record(message, pipeline, writer_schema_of)))
                if asked.group:
                    source.store_offsets(message)
                printed += 1
            elif message is not None and message.error().code() in DENIED:
                raise UserError(f"{topic}: {message.error().str()}; grant Read on the topic and on the group")
            elif not printed and time.monotonic() > told_after:
                say(_waiting(topic, spans, asked), err=True)
                told_after = math.inf
    except KeyboardInterrupt:
        return
    except KafkaException as error:
        raise DependencyDownError("broker", error_text(error, source)) from error
    finally:
        source.close()  # commits what was printed


def _start(source: Consumer, topic: str, spans: Spans, asked: Tail) -> None:
    """Assign all partitions, or join the group."""
    if asked.group is None:
        starts = {n: span.low if asked.from_beginning else span.high for n, span in spans.items()}
        source.assign([TopicPartition(topic, n, offset) for n, offset in starts.items()])
        return

    def assigned(client: Consumer, places: list[TopicPartition]) -> None:
        """Commit where new partitions start. Otherwise what arrives before the first commit may be skipped later."""
        known = client.committed(places, timeout=_TIMEOUT_S)
        for place in known:
            if place.offset < 0:
                low, high = client.get_watermark_offsets(place, timeout=_TIMEOUT_S)
                place.offset = low if asked.from_beginning else high
        client.commit(offsets=known, asynchronous=False)
        client.assign(known)

    source.subscribe([topic], on_assign=assigned)


def _waiting(topic: str, spans: Spans, asked: Tail) -> str:
    what = f"waiting for new records of {topic}"
    if asked.group:
        return f"{what}: group {asked.group} has printed all that are there; Ctrl-C ends"
    if not asked.from_beginning and any(span.low < span.high for span in spans.values()):
        return f"{what}; --from-beginning shows those that are there already; Ctrl-C ends"
    return f"{what}: it is empty; Ctrl-C ends"


def _record(message: Message, pipeline: Pipeline, writer_schema_of: WriterSchemaOf) -> dict[str, Any]:
    key = key_of(message) or b""
    shown: dict[str, Any] = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
    if message.topic() == pipeline.topics.get("alarm_state"):
        key, shown["rule"] = rule_of(key)
    shown["key"] = key.decode(errors="replace")
    if headers := headers_of(message):
        shown["headers"] = {name: (value or b"").decode(errors="replace") for name, value in headers}
    schema = _schema_on(pipeline, message.topic())
    value = value_of(message)
    if value is None:
        shown["value"] = None
    elif schema is None:
        shown["value_hex"] = value.hex()
    else:
        try:
            shown["value"] = decode(value, writer_schema_of, schema, headers, pipeline.input.utc_offset_ms)
        except UnreadableValueError as error:
            shown |= {"error": str(error), "value_hex": value.hex()}
    return shown


def _schema_on(pipeline: Pipeline, topic: str) -> Schema | None:
    """The schema of a topic's records; None where it is not the pipeline's, or holds dead letters."""
    return next((r.schema for role, r in pipeline.records.items() if pipeline.topics[role] == topic), None)
