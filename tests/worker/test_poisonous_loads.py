"""Loads that hurt: one key, one partition, bad records or new modules in excess. The others are served all the same."""

import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from confluent_kafka import Producer

from schemas.registry import writer_schema_lookup
from schemas.text_column import TextColumn
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.fuzz.payloads import payload, source
from tests.fuzz.writers import Writers
from tests.harness import START_MS, Stage, Worker, avro, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run, uninterrupted_run
from worker.kafka.client_config import client_config
from worker.score.decode import Decoder
from worker.score.validate import Validator

pytestmark = [pytest.mark.timeout(180)]
SPAN_MS = 900_000
HOT, COLD = 0, 1


def interleaved(count: int, hot_share: float) -> Iterator[dict[str, Any]]:
    """Readings of which this number are of one module, the others of fifty."""
    rng = random.Random(1)
    for i in range(count):
        module = "hot" if rng.random() < hot_share else f"m{rng.randrange(50)}"
        yield reading(module, START_MS + i * 10, voltage_v=50 + rng.random(), avg_surface_temp_c=rng.uniform(20, 90))


@pytest.mark.kafka
def test_a_hot_key_is_scored_in_order_and_nobody_else_suffers(stage: Stage) -> None:
    count = 12_000
    stage.publish_readings(interleaved(count, hot_share=0.9))
    with stage.worker() as worker:
        worker.await_consumed(count)
        assert worker.stop() == 0
    expected = assert_equals_uninterrupted_run(stage)
    assert len(expected.probability) + len(expected.rejected) + expected.deduplicated == count
    assert len(expected.probability) > 0.99 * count


@pytest.mark.kafka
def test_a_partition_with_a_hundred_times_the_rate_does_not_hold_up_the_others(stage: Stage) -> None:
    backlog = [(f"h{i % 200}", avro(reading(f"h{i % 200}", START_MS + i * 50))) for i in range(60_000)]
    with stage.worker() as worker:
        worker.await_ready()
        producer = Producer(client_config(stage.bootstrap) | {"linger.ms": 5})
        topic = stage.pipeline.input.topic
        for i, (key, value) in enumerate(backlog):
            producer.produce(topic, value, key, partition=HOT)
            if i % 100 == 0:
                producer.produce(topic, avro(reading("cold", START_MS + i * 50)), "cold", partition=COLD)
            producer.poll(0)
        assert producer.flush(60) == 0
        wait_until(lambda: stage.outcomes() >= len(backlog) + 600, "all outcomes", 120)
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
    arrived = {(m.partition(), m.offset()): m.timestamp()[1] for m in stage.committed("input")}
    waits: dict[int, list[int]] = {HOT: [], COLD: []}
    for message, record in stage.messages("predictions"):
        place = record["source_partition"], record["source_offset"]
        waits[place[0]].append(message.timestamp()[1] - arrived[place])
    # librdkafka queues both in one line, so the others wait about as long, not a hundred times as long.
    assert np.percentile(waits[COLD], 50) <= np.percentile(waits[HOT], 50) + 1000, waits[COLD][::50]


@pytest.mark.kafka
def test_a_flood_of_bad_records_is_counted_and_the_good_ones_are_scored(stage: Stage) -> None:
    rng = random.Random(5)
    writers = Writers(rng, 20)
    at_hand = source(rng, writers, 200)
    good = [(m, avro(reading(m, START_MS + i * 1000))) for i in range(200) for m in ("a", "b", "c", "d", "e")]
    messages: list[tuple[str | bytes | None, bytes | None]] = []
    for pair in good:
        messages += [(b"bad", payload(rng, at_hand)[1]) for _ in range(9)]
        messages.append(pair)
    with stage.worker() as worker:
        stage.publish(messages)
        worker.await_consumed(len(messages))
        expected = uninterrupted_run(stage)
        for reason in set(expected.rejected.values()):
            count = sum(r == reason for r in expected.rejected.values())
            assert worker.metric("hazardstream_dead_letters_total", reason=reason) == count, reason
        assert worker.answer("/ready").status_code == 200
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
    assert len(expected.probability) == len(good)
    assert len(expected.rejected) == len(messages) - len(good)


def memory_bytes(worker: Worker) -> int:
    return psutil.Process(worker.process.pid).memory_info().rss


@pytest.mark.kafka
def test_modules_that_come_and_go_are_forgotten_and_their_memory_is_used_again(stage: Stage) -> None:
    each = 10_000
    with stage.worker() as worker:
        worker.await_ready()
        taken = []
        for generation in range(5):
            start_ms = START_MS + generation * 2 * SPAN_MS
            stage.publish_readings(reading(f"g{generation}-{i}", start_ms + i) for i in range(each))
            worker.await_consumed((generation + 1) * each)
            # The last of them are scored on the turn before the metric is refreshed.
            wait_until(lambda: 0 < worker.metric("hazardstream_windows_held") <= each, "only the new ones held")
            taken.append(memory_bytes(worker))
        # How much of a generation is still held when the next one comes is chance, and arrays grow by doubling.
        assert taken[4] < 1.25 * taken[1], f"{taken}: later generations should find room"
        assert worker.answer("/keys/g0-1").status_code == 404
        assert worker.answer("/keys/g4-1").status_code == 200
        assert worker.metric("hazardstream_scored_total") == 5 * each
    assert_equals_uninterrupted_run(stage)


def test_one_giant_among_small_ids_costs_no_more_than_its_own_size() -> None:
    source = PIPELINE.input
    decode, validate = (
        Decoder(source, writer_schema_lookup(None, KNOWN_SCHEMAS)),
        Validator(source),
    )
    names = [f"m{i}" for i in range(4000)]
    names[2000] = "x" * 450_000
    values = [avro(reading(name, START_MS)) for name in names]
    keys = TextColumn.of([name.encode() for name in names])
    tracemalloc.start()
    readings, unreadable = decode(values)
    _, refused = validate(readings, keys, np.full(len(names), START_MS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert unreadable == []
    assert [(r.row, r.reason) for r in refused] == [(2000, "invalid")]
    assert peak < 50_000_000
