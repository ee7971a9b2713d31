"""A fixed input with everything that a worker tells apart, for the digest of its output."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.flagship import flagship_schema
from tests.harness import NORMAL, START_MS, reading

PARTITIONS, KEYS, STEPS, PERIOD_MS = 4, 24, 140, 10_000
LIVE_FROM = {0: 150, 1: 0, 2: 40, 3: 0}
"""By partition: what lies before was committed earlier and only rebuilds windows."""
EXCLUDED = {0: (7, 31, 90), 2: (12,)}
"""By partition: offsets before `LIVE_FROM` that were dead letters when they were live."""
BATCHES = (1, 7, 300, 900, 64)
_SEED = 12
_SCHEMA = flagship_schema("SensorReading.v1")
"""Of a producer that knows no field that was added later."""
_WRITER, _PREFIX = parsed(_SCHEMA), single_object_prefix(_SCHEMA)


def avro(record: dict[str, Any]) -> bytes:
    """The reading as a message value."""
    return encode(record, _WRITER, _PREFIX)


class Sent(NamedTuple):
    """A record of the input topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: list[tuple[str, bytes | None]]


def records() -> list[Sent]:
    """The whole input, in the order in which a consumer returns it."""
    rng = np.random.default_rng(_SEED)
    ends, sent = [0] * PARTITIONS, list[Sent]()
    for step in range(STEPS):
        for number in range(KEYS):
            for key, value, timestamp_ms, headers in _records(rng, step, number):
                partition = number % PARTITIONS
                sent.append(Sent(partition, ends[partition], key, value, timestamp_ms, headers))
                ends[partition] += 1
    return sent


def _records(rng: np.random.Generator, step: int, number: int) -> Iterator["Record"]:
    name, ts = f"m{number:02d}", START_MS + step * PERIOD_MS + number
    sensors: dict[str, float | None] = {field: round(mean * rng.normal(1, 0.02), 2) for field, mean in NORMAL.items()}
    if number % 8 == 3 and 60 <= step < 100:
        heat = (step - 60) * 1.5
        sensors |= {"avg_surface_temp_c": 30 + heat, "max_surface_temp_c": 34 + heat, "offgas_h2_ppm": 5 + 4 * heat}
    if rng.random() < 0.1:
        sensors[list(NORMAL)[int(rng.integers(len(NORMAL)))]] = None
    if rng.random() < 0.03:
        sensors["voltage_v"] = 1e9
    value, headers = avro(reading(name, ts, **sensors)), list[tuple[str, bytes | None]]()
    if rng.random() < 0.05:
        headers = [("traceparent", b"00-%032d-%016d-01" % (step, number)), ("other", None)]
    yield name.encode(), value, ts, headers
    kind = int(rng.integers(120))
    if kind < len(_ODD):
        yield _ODD[kind](name, ts, value, headers)


Record = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes | None]]]
"""Key, value, Kafka timestamp (ms; -1: none) and headers."""

_ODD: tuple[Callable[[str, int, bytes, list[tuple[str, bytes | None]]], Record], ...] = (
    lambda name, ts, value, _: (name.encode(), value, ts, []),  # a duplicate
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts - 30_000)), ts, []),  # out of order
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts - 900_000)), ts, []),  # late
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts + 400_000)), ts, []),  # of the future
    lambda name, ts, *_: (b"another", avro(reading(name, ts + 1)), ts, []),
    lambda name, ts, *_: (json.dumps(name).encode(), avro(reading(name, ts + 2)), ts, []),
    lambda name, ts, *_: (name.encode(), None, ts, []),
    lambda name, ts, value, headers: (name.encode(), value[:-3], ts, headers),
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts + 3, **dict.fromkeys(NORMAL))), ts, []),
    lambda _, ts, value, __: (None, b"\xc3\x01noschema" + value, ts, [("traceparent", b"x")]),
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts // 1000)), ts, []),  # seconds
    lambda name, ts, *_: (name.encode(), avro(reading(name, ts + 4)), -1, []),  # without a Kafka timestamp
)
