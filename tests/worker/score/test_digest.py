"""The same input gives the same output, bit for bit, whatever is rebuilt inside."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message

from schemas.registry import writer_schema_lookup
from tests.digest_input import BATCHES, EXCLUDED, LIVE_FROM, records
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from worker.consume.message_columns import batch_of
from worker.encode.dead_letter import ERRORS
from worker.encode.encoder import Encoder
from worker.model.package import load_package
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

DIGEST = "ff6ccf4ec0eb4c211321e708c342bf1df67119dc2de2b784a7f1b608f7ec7f68"
"""As computed with commit 6784238, with the fields `rule` in alarms and `not_assessable` in predictions.

A change of the model, of an output schema or of a rule changes it: then say so.
"""
NOW_NS = 1_800_000_000_000_000_000


def test_predictions_alarms_and_dead_letters_are_the_same_bits(
    model_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the clock's time and the wording of faults; every third batch is aborted once."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    package = load_package(model_package, version="digest")
    changes = {"setpoint": 0.002, "deadband": 0.001, "priorities": {"HIGH": 0.002, "CRITICAL": 0.3}}
    policy = package.policy.model_copy(update=changes | {"off_delay_ms": 60_000})

    scorer = scorer_of(PIPELINE, package, policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    partitions = {number: Partition(number, 0, live_from) for number, live_from in LIVE_FROM.items()}
    for number, partition in partitions.items():
        partition.exclusions = np.array(EXCLUDED.get(number, ()), np.int64)
        scorer.alarms.assign(number, {})
    encoder = Encoder(PIPELINE, {}, 20_000)
    digest, sent, batches = hashlib.sha256(), [message(*record) for record in records()], 0
    while sent:
        size = BATCHES[batches % len(BATCHES)]
        batch, sent, batches = batch_of(sent[:size]), sent[size:], batches + 1
        if batches % 3 == 0:
            scorer.process(batch, partitions)
        outcome = scorer.process(batch, partitions)
        outgoing = encoder.records(outcome, "topic-id")
        for (topic, number), bulk in sorted(outgoing.bulk.items()):
            for record in bulk:
                digest.update(repr((topic, number, record["key"], record["value"], record.get("headers"))).encode())
        for topic, number, key, value, headers, timestamp in outgoing.records:
            named = [(name, text) for name, text in headers or [] if name != ERRORS + "message"]
            digest.update(repr((topic, number, key, value, named, timestamp)).encode())
        digest.update(repr((sorted(outcome.clocks.items()), outcome.deduplicated, outcome.replayed)).encode())
        scorer.merge(outcome, partitions)

    assert digest.hexdigest() == DIGEST


def message(
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    timestamp_ms: int,
    headers: list[tuple[str, bytes | None]],
) -> Message:
    stamp = (1 if timestamp_ms >= 0 else 0, timestamp_ms)
    place = {"topic": "battery.readings", "partition": partition, "offset": offset}
    return Message(**place, key=key, value=value, timestamp=stamp, headers=headers or None)
