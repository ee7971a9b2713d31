"""The request log: one JSON object for each request, on a topic or in a file. It never delays or fails a request."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException

from common.errors import UserError
from serve.json_response import json_bytes
from serve.metrics import ServeMetrics
from serve.settings import ServeSettings
from worker.kafka.client_config import client_config, producer

_LOG = structlog.get_logger(__name__)
_WAITING = 10_000
_FLUSH_S = 5.0
Write = Callable[[str, bytes], None]
"""Writes a record: request id and JSON."""


class RequestLog:
    """Writes records on a thread of its own. If too many wait, further ones are counted as lost."""

    def __init__(self, settings: ServeSettings, metrics: ServeMetrics) -> None:
        """Open topic and file.

        Raises:
            UserError: one of them cannot be used.
        """
        self._metrics = metrics
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._writers: list[Write] = []
        self._producer = None
        if settings.request_log_file is not None:
            self._writers.append(_file(settings.request_log_file))
        if settings.request_log:
            self._producer = producer(client_config(settings.bootstrap_servers), {"enable.idempotence": True})
            self._writers.append(self._topic(settings.request_log))
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        if self._writers:
            self._thread.start()

    def add(self, record: dict[str, Any]) -> None:
        """Write a record soon."""
        if not self._writers:
            return
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._metrics.log_lost.inc()

    def close(self) -> None:
        """Write what is waiting."""
        if self._writers:
            self._waiting.put(None)
            self._thread.join(_FLUSH_S)
        if self._producer is not None:
            self._producer.flush(_FLUSH_S)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            line = json_bytes(record)
            for write in self._writers:
                try:
                    write(record["request_id"], line)
                except (OSError, KafkaException, BufferError) as error:
                    self._metrics.log_lost.inc()
                    _LOG.warning("a request was not logged", reason=str(error))

    def _topic(self, topic: str) -> Write:
        made = self._producer
        if made is None:
            raise ValueError("there is no producer")

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                self._metrics.log_lost.inc()
                _LOG.warning("a request was not logged", reason=str(error))

        def write(request_id: str, line: bytes) -> None:
            made.produce(topic, key=request_id, value=line, on_delivery=delivered)
            made.poll(0)

        return write


def _file(path: Path) -> Write:
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise UserError(f"HAZARDSTREAM_REQUEST_LOG_FILE={path}: {error.strerror}; name another file") from error

    def write(_request_id: str, line: bytes) -> None:
        file.write(line + b"\n")

    return write
