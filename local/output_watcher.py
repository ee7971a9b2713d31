"""Watches a run from outside, like an alerting system: a separate read_committed consumer on a thread."""

import threading
import time
from collections import Counter, deque
from typing import Any

import numpy as np
from confluent_kafka import Message, TopicPartition

from common.times import iso_utc
from schemas.codec import decode
from schemas.load import Schema
from schemas.registry import writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import client_config, consumer
from worker.kafka.message import time_of, value_of

_RATE_OVER_S = 3.0


class Watcher:
    """Counts committed records, and measures the time from each reading on the broker to its committed prediction.

    Attributes:
        counts: messages seen, by role of their topic.
        active: keys in alarm, and the rule that raised it (None: the model) -> priority.
        alarm_lines: the latest transitions, as text.
    """

    def __init__(self, pipeline: Pipeline, bootstrap: str) -> None:
        self.counts: Counter[str] = Counter()
        self.active: dict[tuple[str, str | None], str] = {}
        self.alarm_lines: deque[str] = deque(maxlen=6)
        self._pipeline = pipeline
        self._roles = {topic: role for role, topic in pipeline.topics.items()}
        self._writer_schema_of = writer_schema_lookup(None, pipeline.known_schemas)
        self._read_at_ms: dict[tuple[int, int], int] = {}
        self._early: dict[tuple[int, int], float] = {}
        self._latency_ms: list[float] = []
        self._history: deque[tuple[float, int]] = deque(maxlen=200)
        self._stop = threading.Event()
        self._consumer = consumer(
            client_config(bootstrap),
            {"group.id": "hazardstream-watch", "enable.auto.commit": False, "isolation.level": "read_committed"},
        )
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start reading all topics from the beginning."""
        roles = ("input", "predictions", "alarms", "dead_letters")
        topics = [topic for role, topic in self._pipeline.topics.items() if role in roles]
        numbers = {t: self._consumer.list_topics(t, timeout=15).topics[t].partitions for t in topics}
        self._consumer.assign([TopicPartition(t, n, 0) for t in topics for n in numbers[t]])
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()

    def latency_ms(self, percent: float) -> float | None:
        """A percentile of the time from a reading's Kafka timestamp to the arrival of its prediction here, ms."""
        return round(float(np.percentile(self._latency_ms, percent)), 1) if self._latency_ms else None

    def rate(self) -> float:
        """Predictions per second, recently."""
        now = time.monotonic()
        known = self._history.copy()  # the thread goes on adding
        recent = [(at, n) for at, n in known if at > now - _RATE_OVER_S]
        if len(recent) < 2:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / max(recent[-1][0] - recent[0][0], 1e-3)

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(5000, timeout=0.02)
            now_ms = time.time() * 1000
            for message in messages:
                if message.error() is None:
                    self._take(message, now_ms)
            if messages:
                self._history.append((time.monotonic(), self.counts["predictions"]))

    def _take(self, message: Message, now_ms: float) -> None:
        role = self._roles[message.topic()]
        self.counts[role] += 1
        if role == "input":
            address = (message.partition(), message.offset())
            self._read_at_ms[address] = time_of(message)
            if address in self._early:
                self._latency_ms.append(self._early.pop(address) - self._read_at_ms.pop(address))
        elif role == "predictions":
            record = self._decoded(message, self._pipeline.outputs.predictions.avro_schema)
            address = (record["source_partition"], record["source_offset"])
            if address in self._read_at_ms:
                self._latency_ms.append(now_ms - self._read_at_ms.pop(address))
            else:
                self._early[address] = now_ms
        elif role == "alarms":
            self._alarm(self._decoded(message, self._pipeline.records["alarms"].schema))

    def _decoded(self, message: Message, schema: Schema) -> dict[str, Any]:
        record = decode(value_of(message) or b"", self._writer_schema_of, schema)
        return self._pipeline.outputs.with_engine_names(record)

    def _alarm(self, record: dict[str, Any]) -> None:
        key, rule = record[self._pipeline.input.key], record.get("rule")
        probability = record["probability"]
        if record["state"] == "RTN":
            self.active.pop((key, rule), None)
        else:
            self.active[key, rule] = record["priority"]
        why = rule or ", ".join(c["feature"] for c in record["contributions"][:3])
        at = iso_utc(record[self._pipeline.input.time])  # as `explain --at` takes it
        self.alarm_lines.append(f"{at}  {record['state']:<6} {record['priority']:<8} {key}  p={probability:.2f}  {why}")
