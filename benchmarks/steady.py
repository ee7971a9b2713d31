"""Sends readings at a steady rate, and notes when their outputs can be read: latency measured outside the worker."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Self

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from common.arrays import Int
from common.errors import UserError
from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from schemas.columnar_encoder import Column, encode_columns
from schemas.text_column import TextColumn
from schemas.wire import single_object_prefix
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import client_config

_PERIOD_MS = 10_000
_STEPS_SIMULATED = 200
_TICK_S = 0.01


def encoded_readings(pipeline: Pipeline, modules: int, readings: int) -> Iterator[tuple[str, bytes]]:
    """Keys and values of a healthy fleet's readings. The newest is a minute old. Sensor values repeat, times do not."""
    steps = -(-readings // modules)
    start_ms = time.time_ns() // 1_000_000 - 60_000 - steps * _PERIOD_MS
    fleet = Fleet(modules, seed=1, start_ms=start_ms, period_ms=_PERIOD_MS)
    values = [np.nan_to_num(step.values, nan=20.0) for step in fleet.steps(min(steps, _STEPS_SIMULATED))]
    source, schema = pipeline.input, pipeline.input.avro_schema
    # In bytes, a union is the index of its branch, then the value.
    branches = {c: {"name": f"{c} branch", "type": "int"} for c in source.sensors()}
    pairs = {c: [branch, {"name": c, "type": "double"}][: 1 + (c in SENSORS)] for c, branch in branches.items()}
    flat = {"fields": [part for field in schema["fields"] for part in pairs.get(field["name"], [field])]}
    same: dict[str, Column] = {f"{c} branch": np.array(int(c in SENSORS)) for c in branches}
    keys, racks = (TextColumn.of([name.encode() for name in names]) for names in (fleet.module_ids, fleet.rack_ids))
    left = readings
    for number in range(steps):
        sensors = dict(zip(SENSORS, values[number % len(values)].T, strict=True))
        now_ms = np.array(start_ms + number * _PERIOD_MS)
        identity: dict[str, Column] = {source.key: keys, source.group: racks, source.time: now_ms}
        encoded = encode_columns(flat, identity | same | sensors, modules, single_object_prefix(schema))
        yield from zip(fleet.module_ids[:left], encoded, strict=False)
        left -= min(left, modules)


def publish_steadily(topic: str, bootstrap: str, messages: Iterator[tuple[str, bytes]], rate: int) -> None:
    """Publish messages at this rate, in ticks of 10 ms.

    Raises:
        UserError: the broker did not accept all, or this machine cannot publish so fast.
    """
    producer = Producer(client_config(bootstrap) | {"linger.ms": 2, "queue.buffering.max.messages": 1_000_000})
    failures: list[str] = []

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    begun, sent = time.monotonic(), 0
    for key, value in messages:
        producer.produce(topic, value, key, on_delivery=note)
        sent += 1
        if sent % max(int(rate * _TICK_S), 1) == 0:
            producer.poll(0)
            time.sleep(max(begun + sent / rate - time.monotonic(), 0))
    late_s = time.monotonic() - begun - sent / rate
    if producer.flush(30) or failures:
        raise UserError(f"the broker did not accept all readings: {failures[:1]}; see its log")
    if late_s > 1:
        raise UserError(f"this machine cannot publish {rate} readings/s: {late_s:.1f} s late; use a lower rate")


class Arrivals:
    """Reads a topic as a consumer does, and notes when each record of a partition could be read."""

    def __init__(self, topic: str, bootstrap: str) -> None:
        properties = {"group.id": "benchmark", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(client_config(bootstrap) | properties | {"auto.offset.reset": "earliest"})
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        self._noted: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _watch(self) -> None:
        while not self._stop.is_set():
            messages = [m for m in self._consumer.consume(5000, timeout=0.1) if m.error() is None]
            now_ms = time.time_ns() // 1_000_000
            numbers, counts = np.unique([m.partition() for m in messages], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                self._noted[number].append((now_ms, count))
            self.count += len(messages)

    def at_ms(self) -> dict[int, Int]:
        """When each record could be read, in the order of its partition, ms since the Unix epoch."""
        return {n: np.repeat(*np.array(noted, np.int64).T) for n, noted in self._noted.items()}
