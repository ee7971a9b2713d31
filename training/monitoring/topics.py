"""Reads and writes the monitoring topics; each read continues where the last one ended."""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import structlog
from confluent_kafka import KafkaException

from common.errors import DependencyDownError, UserError
from schemas.codec import decode, encode
from schemas.errors import UnreadableValueError
from schemas.load import parsed
from schemas.registry import COMMAND_TIMEOUT_S, SERVICE_TIMEOUT_S, registry_at, writer_schema_lookup
from schemas.wire import single_object_prefix
from worker.config.pipeline import Monitor, Pipeline, load_pipeline
from worker.config.settings import Settings
from worker.kafka.client_config import client_config, error_text, producer
from worker.kafka.message import value_of
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_reader import Span, TopicReader

_LOG = structlog.get_logger(__name__)
_FLUSH_S = 30.0


class MonitoringTopics:
    """Reads and writes a pipeline's records. Use as a context manager.

    Args:
        settings: pipeline, brokers and registry.
        patient: whether it is for a service, which waits for a broker when it reads or writes.

    Raises:
        UserError: the pipeline has no `monitor`.
        DependencyDownError: no broker answers, unless patient.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        self.pipeline: Pipeline = load_pipeline(settings.pipeline)
        monitor = self.pipeline.monitor
        if monitor is None:
            raise UserError(
                f"pipeline {self.pipeline.name} has no `monitor` section; add one as docs/drift.md describes"
            )
        self.monitor: Monitor = monitor
        self._config = (client_config if patient else reachable_config)(settings.bootstrap_servers)
        timeout_s = SERVICE_TIMEOUT_S if patient else COMMAND_TIMEOUT_S
        self._registry = registry_at(settings.registry_url, timeout_s=timeout_s)
        self._writer_schema_of = writer_schema_lookup(self._registry, self.pipeline.known_schemas)
        self._reader = TopicReader(self._config)
        self._read_to: dict[str, dict[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.consumer.close()

    def news(self, role: str) -> Iterator[dict[str, Any]]:
        """The committed records since the last call; the first call returns all.

        Raises:
            UserError: there is no such topic.
            DependencyDownError: broker or registry does not answer; call again.
        """
        topic, schema = self.pipeline.topics[role], self.pipeline.records[role].schema
        read_to = self._read_to.setdefault(role, {})
        spans = {n: Span(max(s.low, read_to.get(n, 0)), s.high) for n, s in self._reader.spans(topic).items()}
        for messages in self._reader.read(topic, spans):
            for message in messages:
                value = value_of(message)
                if value is None:
                    continue
                try:
                    yield decode(value, self._writer_schema_of, schema)
                except UnreadableValueError as error:
                    _LOG.error("unreadable record", topic=topic, offset=message.offset(), reason=str(error))
        read_to.update({n: span.high for n, span in spans.items()})

    def publish(self, role: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write (key, record) pairs, and wait until the broker has confirmed them.

        Raises:
            UserError: the broker or the registry refuses them.
            DependencyDownError: one of them does not answer.
        """
        topic, schema = self.pipeline.topics[role], self.pipeline.records[role].schema
        prefix, ready = self._prefix(topic, schema), parsed(schema)
        failed: list[str] = []
        writer = producer(self._config, PRODUCER_FIXED, PRODUCER_DEFAULTS)
        try:
            for key, record in records:
                value = encode(dict(record), ready, prefix)
                writer.produce(topic, value, key, on_delivery=lambda e, _: failed.append(str(e)) if e else None)
        except KafkaException as error:
            raise UserError(f"{topic}: {error_text(error)}") from error
        if writer.flush(_FLUSH_S):
            raise DependencyDownError("broker", f"{topic}: the broker did not confirm within {_FLUSH_S:.0f} s")
        if failed:
            raise UserError(f"{topic}: {failed[0]}; run `hazardstream topics check`")

    def _prefix(self, topic: str, schema: dict[str, Any]) -> bytes:
        if self._registry is None:
            return single_object_prefix(schema)
        try:
            return self._registry.prefix(topic, schema)
        except UnreadableValueError as error:
            raise UserError(f"{error}; check the compatibility rule of the subject in the registry") from error
