"""Numbered readings of a healthy fleet, which are encoded by column, published fast, and recognised in the output.

Recognising a reading must be cheap, because a benchmark shares two cores with the processes that it measures.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from confluent_kafka import Producer

from common.arrays import Bool, Float, Int
from common.errors import UserError
from local.flagship import FLAGSHIP
from pipelines.battery_hazard.simulator.fleet import Fleet
from schemas.text_column import Bytes
from schemas.wire import single_object_prefix
from worker.config.pipeline import load_pipeline
from worker.kafka.client_config import admin_client, client_config, topic_partitions

PERIOD_MS = 10_000
"""Event time between two readings of a module."""
_MODULES_PER_RACK = 8
_SIMULATED_MODULES, _SIMULATED_STEPS = 1000, 200
_DIGITS = 7
_POWERS = 10 ** np.arange(_DIGITS - 1, -1, -1)
_TS_BYTES = 6  # of an event time between the years 1987 and 2039, as a zigzag varint
_SOURCE = load_pipeline(FLAGSHIP).input
_SCHEMA, _SENSORS = _SOURCE.avro_schema, len(_SOURCE.sensors())
_PREFIX = single_object_prefix(_SCHEMA)
_NULL_BRANCH = 2 * _SCHEMA["fields"][-1]["type"].index("null")  # zigzag
_MODULE_AT = len(_PREFIX) + 2
_TS_AT = _MODULE_AT + _DIGITS + 2 + _DIGITS
HEAD_BYTES = _TS_AT + _TS_BYTES
"""The first bytes of a reading or prediction identify it: both begin with module, rack and time."""
_FLUSH_S = 60.0

Numbers = Int
"""Readings by number, shape [n]."""
Tell = Callable[[int], None]
"""Called with the number of readings that are done."""


@dataclass(frozen=True)
class Readings:
    """Reading number n is from module `n % modules`, at step `n // modules`.

    All are valid readings of a healthy fleet: values of a thousand simulated modules over half an hour, repeated.

    Attributes:
        modules: how many, up to 10 million.
        start_ms: event time of step 0.
    """

    modules: int
    start_ms: int

    @cached_property
    def _values(self) -> Float:
        fleet = Fleet(min(self.modules, _SIMULATED_MODULES), seed=1, start_ms=self.start_ms, period_ms=PERIOD_MS)
        simulated = fleet.block(_SIMULATED_STEPS)[1]  # the first sensors of the record
        values = np.full((*simulated.shape[:2], _SENSORS), np.nan)
        values[..., : simulated.shape[2]] = simulated
        return values

    @classmethod
    def until_now(cls, modules: int, count: int) -> "Readings":
        """Readings, of which number `count` is one minute old."""
        steps = -(-count // modules)
        return cls(modules, time.time_ns() // 1_000_000 - 60_000 - steps * PERIOD_MS)

    def ts(self, numbers: Numbers) -> Int:
        """Event times, ms, shape [n]."""
        return self.start_ms + numbers // self.modules * PERIOD_MS

    def encode(self, numbers: Numbers) -> tuple[list[bytes], list[bytes]]:
        """Keys and values of the messages (Avro, single-object encoding)."""
        step, module = np.divmod(numbers, self.modules)
        steps, modules, _ = self._values.shape
        key = _name("M", module)
        parts = [
            np.broadcast_to(np.frombuffer(_PREFIX, np.uint8), (len(numbers), len(_PREFIX))),
            _length(key),
            key,
            _length(key),
            _name("R", module // _MODULES_PER_RACK),
            _zigzag(self.ts(numbers)),
        ]
        head = np.concatenate(parts, axis=1)
        sensors, inside = _nullable_doubles(self._values[step % steps, module % modules])
        matrix = np.concatenate((head, sensors), axis=1)
        inside = np.concatenate((np.ones(head.shape, np.bool_), inside), axis=1)
        ends = np.cumsum(inside.sum(axis=1)).tolist()
        data, names, width = matrix[inside].tobytes(), key.tobytes(), key.shape[1]
        return (
            [names[at : at + width] for at in range(0, len(names), width)],
            [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)] if ends else [],
        )

    def numbers(self, heads: bytes) -> Numbers:
        """Numbers of the readings, by the first `HEAD_BYTES` of each reading or prediction; -1 for unknown ones."""
        rows = np.frombuffer(heads, np.uint8).reshape(-1, HEAD_BYTES).astype(np.int64)
        digits = rows[:, _MODULE_AT : _MODULE_AT + _DIGITS] - ord("0")
        module = digits @ _POWERS
        groups = rows[:, _TS_AT:]
        raw = ((groups & 0x7F) << (7 * np.arange(_TS_BYTES))).sum(axis=1)
        step, off = np.divmod((raw >> 1) - self.start_ms, PERIOD_MS)
        sound = ((digits >= 0) & (digits <= 9)).all(axis=1) & (module < self.modules) & (off == 0) & (step >= 0)
        sound &= (groups[:, :-1] >= 0x80).all(axis=1) & (groups[:, -1] < 0x80) & (raw & 1 == 0)
        return np.where(sound, step * self.modules + module, -1)


def _name(letter: str, numbers: Int) -> Bytes:
    """A letter and seven digits: all names have the same length, so all rows have the same layout."""
    digits = (numbers[:, None] // _POWERS) % 10 + ord("0")
    return np.concatenate((np.full((len(numbers), 1), ord(letter)), digits), axis=1).astype(np.uint8)


def _length(name: Bytes) -> Bytes:
    return np.full((len(name), 1), 2 * name.shape[1], np.uint8)


def _zigzag(ts: Int) -> Bytes:
    groups = ((ts << 1)[:, None] >> (7 * np.arange(_TS_BYTES))) & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8)


def _nullable_doubles(values: Float) -> tuple[Bytes, Bool]:
    """Branch and double of each value, shape [n, 9 * sensors], and a mask of the bytes that are written."""
    n, sensors = values.shape
    missing = np.isnan(values)
    cells = np.empty((n, sensors, 9), np.uint8)
    cells[..., 0] = np.where(missing, _NULL_BRANCH, 2 - _NULL_BRANCH)
    cells[..., 1:] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(n, sensors, 8)
    inside = np.ones(cells.shape, np.bool_)
    inside[..., 1:] = ~missing[..., None]
    return cells.reshape(n, 9 * sensors), inside.reshape(n, 9 * sensors)


class Source:
    """Produces readings to the input topic; all readings of a module go to one partition."""

    def __init__(self, readings: Readings, topic: str, bootstrap: str) -> None:
        config = client_config(bootstrap)
        self._partitions = topic_partitions(admin_client(config))[topic]
        self._readings, self._topic = readings, topic
        self._producer = Producer(
            config
            | {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,  # permanent errors show when the buffer is flushed
            }
        )

    def prepared(self, numbers: Numbers) -> list[tuple[bytes, bytes, int]]:
        """Key, value and partition of these readings."""
        partition = (numbers % self._readings.modules % self._partitions).tolist()
        return list(zip(*self._readings.encode(numbers), partition, strict=True))

    def send(self, messages: list[tuple[bytes, bytes, int]]) -> None:
        """Hand messages to the client, waiting while its buffer is full."""
        produce, topic = self._producer.produce, self._topic
        for key, value, partition in messages:
            while True:
                try:
                    produce(topic, value, key, partition=partition)
                    break
                except BufferError:
                    self._producer.poll(0.05)

    def flush(self) -> None:
        """Wait until everything is on the topic.

        Raises:
            UserError: the broker did not accept it in time.
        """
        if left := self._producer.flush(_FLUSH_S):
            raise UserError(f"the broker did not accept {left} readings within {_FLUSH_S:.0f} s; see its log")


def publish(readings: Readings, numbers: range, topic: str, bootstrap: str, tell: Tell = lambda _: None) -> None:
    """Publish the readings with these numbers.

    Raises:
        UserError: the broker did not accept all.
    """
    source = Source(readings, topic, bootstrap)
    for some in in_chunks(numbers):
        source.send(source.prepared(some))
        tell(int(some[-1]) + 1 - numbers.start)
    source.flush()


def in_chunks(numbers: range, size: int = 20_000) -> Iterator[Numbers]:
    """The same numbers, in arrays of at most `size`."""
    for start in range(numbers.start, numbers.stop, size):
        yield np.arange(start, min(start + size, numbers.stop))
