"""Schemas that a registry hands out and no record can be read with: dead letters, never the end of a worker."""

from typing import Any

import pytest
from confluent_kafka import Message

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import confluent_prefix
from tests.flagship import PIPELINE, flagship_schema
from tests.harness import START_MS, reading
from worker.consume.message_columns import batch_of
from worker.encode.encoder import Encoder
from worker.model.package import ModelPackage
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

READING = flagship_schema("SensorReading")
LONE_SURROGATE = "\ud800"  # JSON may hold one, and UTF-8 cannot


def with_time(logical_type: str) -> dict[str, Any]:
    fields = [{**f, "type": {"type": "long", "logicalType": logical_type}} if f["name"] == "ts" else f for f in FIELDS]
    return {**READING, "fields": fields}


def with_fixed(size: int) -> dict[str, Any]:
    return {**READING, "fields": [*FIELDS, {"name": "more", "type": {"type": "fixed", "name": "More", "size": size}}]}


FIELDS = READING["fields"]


@pytest.mark.parametrize(
    "writer",
    [with_time(LONE_SURROGATE), {**READING, "name": LONE_SURROGATE}, with_fixed(2**31), with_fixed(10**30)],
    ids=["a logical type", "a name", "2 GB in each record", "more than 64 bits can count"],
)
def test_its_records_become_dead_letters(package: ModelPackage, writer: dict[str, Any]) -> None:
    scorer = scorer_of(PIPELINE, package, package.policy, lambda _: writer)
    scorer.alarms.assign(0, {})
    value = encode(reading("m", START_MS), parsed(READING), confluent_prefix(7))
    message = Message(topic="t", partition=0, offset=0, key=b"m", value=value, timestamp=(1, START_MS))
    outcome = scorer.process(batch_of([message]), {0: Partition(0, 0, 0)})
    (letter,) = Encoder(PIPELINE, {}, 1 << 20).records(outcome).records
    assert dict(letter.headers or [])["hazardstream.reason"] == b"incompatible_schema"
