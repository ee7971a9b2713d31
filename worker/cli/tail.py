"""Follows a topic and prints its records as JSON."""

from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from common.errors import DependencyDownError
from common.json_text import strict_json
from common.terminal import say
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.load import Schema
from schemas.registry import registry_at, writer_schema_lookup
from worker.alarms.alarms import rule_of
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings
from worker.kafka.client_config import client_config, error_text
from worker.kafka.message import headers_of, key_of, value_of
from worker.kafka.topic_reader import TopicReader
from worker.score.decode import WriterSchemaOf


def follow(settings: Settings, topic_or_role: str, *, from_beginning: bool, limit: int | None) -> None:
    """Print committed records, one JSON object per line, until interrupted or `limit` is reached.

    Raises:
        UserError: there is no such topic.
        DependencyDownError: no broker answers.
    """
    pipeline = load_pipeline(settings.pipeline)
    topic = pipeline.topics.get(topic_or_role, topic_or_role)
    registry = registry_at(settings.registry_url)
    with TopicReader(client_config(settings.bootstrap_servers)) as reader:
        try:
            starts = {n: low if from_beginning else high for n, (low, high) in reader.spans(topic).items()}
            reader.consumer.assign([TopicPartition(topic, n, offset) for n, offset in starts.items()])
            writer_schema_of = writer_schema_lookup(registry, pipeline.known_schemas)
            shown = 0
            while limit is None or shown < limit:
                message = reader.consumer.poll(0.2)
                if message is not None and message.error() is None:
                    say(strict_json(_record(message, pipeline, writer_schema_of)))
                    shown += 1
        except KeyboardInterrupt:
            return
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, reader.consumer)) from error


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
