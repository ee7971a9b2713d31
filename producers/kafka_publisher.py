"""Publishes readings to a Kafka topic: Avro values, partitioned by key, each stored exactly once."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog
from confluent_kafka import KafkaError, KafkaException

from common.errors import DependencyDownError, UserError
from schemas.codec import encode
from schemas.errors import UnreadableValueError
from schemas.load import parsed
from schemas.registry import COMMAND_TIMEOUT_S, registry_from_environment
from schemas.wire import single_object_prefix
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import error_text, producer
from worker.kafka.reachable import reachable_config

log = structlog.get_logger("producers")

START_WAIT_S = 5.0
FLUSH_WAIT_S = 30.0
_WITHOUT = "omit --registry to write Avro's single-object encoding, which needs no registry"

Encoder: TypeAlias = Callable[[str, str, int, list[float | None]], bytes]
"""Takes key, group, event time (ms) and the sensors in a fixed order; returns the message value."""


def encoder(pipeline: Pipeline, registry_url: str | None, sensors: Sequence[str] | None = None) -> Encoder:
    """Prepare the encoding of a pipeline's input records.

    Args:
        pipeline: names the record; its Avro schema is the writer schema.
        registry_url: write Confluent's wire format with this registry, and register the schema there if needed. None:
            write Avro's single-object encoding.
        sensors: names and order of the values that the encoder takes, others have their default; None: all of
            `Input.sensors()`.

    Raises:
        UserError: there is no such schema, or the registry cannot be used.
    """
    source = pipeline.input
    schema = source.avro_schema
    prefix = value_prefix(pipeline, registry_url)
    writer = parsed(schema)
    names = (source.key, source.group, source.time, *(source.sensors() if sensors is None else sensors))

    def encode_reading(key: str, group: str, ts_ms: int, values: list[float | None]) -> bytes:
        return encode(dict(zip(names, (key, group, ts_ms, *values), strict=True)), writer, prefix)

    return encode_reading


def value_prefix(pipeline: Pipeline, registry_url: str | None) -> bytes:
    """What each value on the input topic begins with.

    Args:
        pipeline: names topic and schema.
        registry_url: registry of Confluent's wire format; None: Avro's single-object encoding.

    Raises:
        UserError: the registry refuses the schema.
        DependencyDownError: the registry does not answer.
    """
    schema = pipeline.input.avro_schema
    if not registry_url:
        return single_object_prefix(schema)
    try:
        registry = registry_from_environment(registry_url, timeout_s=COMMAND_TIMEOUT_S)
        return registry.prefix(pipeline.input.topic, schema)
    except DependencyDownError as down:
        raise DependencyDownError(down.dependency, f"{down.reason}; start it, or {_WITHOUT}") from down
    except UnreadableValueError as error:
        raise UserError(f"schema registry {registry_url}: {error}; correct it, or {_WITHOUT}") from error


class ReadingPublisher:
    """Produces to one topic and counts what the broker confirmed.

    The producer is idempotent and waits for all replicas: what is counted as delivered is stored once, in the
    order in which it was sent for each key. While the broker is down the client keeps trying, and `send` blocks once
    the client's buffer is full.

    Attributes:
        delivered: number of confirmed messages by kind (see `send`).
        failed: number of messages that were given up.
    """

    def __init__(self, topic: str, bootstrap: str | None = None, stop: threading.Event | None = None) -> None:
        """Connect and look for the topic.

        Args:
            topic: must exist.
            bootstrap: broker addresses; by default those of the environment.
            stop: once set, `send` no longer waits for a full buffer.

        Raises:
            UserError: the broker has no such topic.
            DependencyDownError: no broker answers.
        """
        config = reachable_config(bootstrap)
        self._topic = topic
        self._stop = stop or threading.Event()
        self._brokers = config["bootstrap.servers"]
        fixed = {
            "enable.idempotence": True,
            "acks": "all",
            "error_cb": self._on_error,
            "delivery.timeout.ms": 0,  # no limit: an outage delays readings, but loses none
        }
        self._producer = producer(config, fixed, {"linger.ms": 20, "compression.type": "lz4"})
        self.delivered: Counter[str] = Counter()
        self.failed = 0
        self._last_error = "no answer"
        self._broker_away = False
        self._on_delivery: dict[str, Callable[[KafkaError | None, object], None]] = {}
        self._require_topic()

    def _require_topic(self) -> None:
        try:
            topics = self._producer.list_topics(timeout=START_WAIT_S).topics
        except KafkaException as error:
            raise DependencyDownError("broker", error_text(error, self._producer)) from error
        if self._topic not in topics:
            raise UserError(
                f"there is no topic {self._topic} on {self._brokers}; create it with: hazardstream topics create"
            )

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = self._producer.reports.reason() or error.str()
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._broker_away:  # noqa: SLF001 - has no public name
            self._broker_away = True
            log.warning("broker_away", brokers=self._brokers, error=self._last_error, action="keeps trying")

    def send(self, key: str | bytes | None, value: bytes | None, kind: str) -> None:
        """Hand one message to the client. Waits while its buffer is full; gives the message up once `stop` is set.

        Args:
            key: message key; messages of one key stay in order.
            value: message value.
            kind: the name that `delivered` counts it under.
        """
        on_delivery = self._on_delivery.get(kind) or self._on_delivery.setdefault(kind, self._counter(kind))
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=on_delivery)
            except BufferError:
                self._producer.poll(0.5)
                if self._stop.is_set():
                    self.failed += 1
                    return
            else:
                return

    def _counter(self, kind: str) -> Callable[[KafkaError | None, object], None]:
        def count(error: KafkaError | None, _message: object) -> None:
            if error is None:
                self.delivered[kind] += 1
                self._broker_away = False
            else:
                self.failed += 1
                self._last_error = error.str()

        return count

    def poll(self, seconds: float = 0.0) -> None:
        """Process confirmations for at most `seconds`."""
        self._producer.poll(seconds)

    def wait(self, seconds: float) -> None:
        """Process confirmations and wait for `seconds`, or until `stop` is set."""
        self._producer.poll(0)
        self._stop.wait(max(seconds, 0))

    def flush(self, timeout_s: float = FLUSH_WAIT_S) -> bool:
        """Wait until every message is confirmed. Returns whether all were, with none given up so far."""
        return self._producer.flush(timeout_s) == 0 and self.failed == 0

    def close(self, timeout_s: float = FLUSH_WAIT_S) -> None:
        """Flush; give up what is not confirmed by then, and count it as failed."""
        if self._producer.flush(timeout_s):
            self._producer.purge()
            self._producer.flush(1)

    @property
    def last_error(self) -> str:
        """The client's last error about a broker or a message."""
        return self._last_error
