"""Whatever a record holds, and whatever a stranger writes into our topics, neither a worker nor a command stops."""

import json
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.dlq_commands import dlq
from tests.flagship import flagship_schema
from tests.harness import START_MS, Stage, avro, reading, wait_until
from tests.raw_batches import Raw, batch, produce, records_section
from tests.topic_settings import set_topic
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.cli.tail import Tail, follow
from worker.config.settings import Settings
from worker.encode.dead_letter import letter_of
from worker.kafka.message import UNREADABLE_HEADER

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
BAD_NAMES = [(b"first", b"1"), (b"\xff\xfe", b"2"), (b"\x80", None), (b"last", None)]
READABLE = [("first", b"1"), (UNREADABLE_HEADER, b"2"), (UNREADABLE_HEADER, None), ("last", None)]


def send(stage: Stage, role: str, partition: int, *records: Raw, timestamp_ms: int | None = None) -> None:
    timestamp_ms = time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms
    encoded = batch(records_section(records), len(records), timestamp_ms=timestamp_ms)
    produce(stage.bootstrap, stage.pipeline.topics[role], partition, encoded)


def test_header_names_that_are_not_utf8_lose_their_names_and_nothing_else(stage: Stage) -> None:
    good = avro(reading("m", START_MS))
    for _ in range(2):  # a start on them, and a start behind them that reads dead letters back
        with stage.worker() as worker:
            send(stage, "input", 0, Raw(b"m", b"noise", BAD_NAMES), Raw(b"m", good, BAD_NAMES))
            worker.await_consumed(2)
            assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
    first, _ = stage.committed("dead_letters")
    letter = letter_of(first)
    assert letter is not None
    assert (letter.reason, letter.value, letter.headers) == ("malformed", b"noise", READABLE)
    assert dlq(stage, "redrive", "--yes")["redriven"] == 2
    again = stage.committed("input")[-1]
    assert again.headers()[: len(READABLE)] == READABLE


def test_any_key_headers_and_timestamps_are_borne(stage: Stage) -> None:
    keys = [None, b"", b"\0", b"\xff" * 100, b"k" * 900_000]
    headers: list[list[tuple[bytes, bytes | None]]] = [
        [],
        [(b"", None), (b"", b"")],
        [(b"\0a\0", b"\0")],
        [(b"h%d" % i, b"v") for i in range(5000)],
    ]
    records = [Raw(key, b"noise", some) for key, some in product(keys[:4], headers)] + [Raw(keys[4], None)]
    with stage.worker() as worker:
        for number, record in enumerate(records):
            send(stage, "input", number % 2, record)
        stage.publish_readings([reading("m", START_MS)])
        worker.await_consumed(len(records) + 1)
        assert worker.stop() == 0
    with stage.worker() as worker:
        stage.publish_readings([reading("m", START_MS + 10_000)])
        worker.await_scored(1)
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
    letters = [letter for m in stage.committed("dead_letters") if (letter := letter_of(m))]
    assert sorted(letters_key or b"null" for letters_key in (x.key for x in letters)) == sorted(
        record.key or b"null" for record in records
    )
    told = dlq(stage, "list", "--top-keys", "3")
    assert told["letters"] == len(records)


def garbage() -> Iterator[Raw]:
    """Records that no version of ours writes, of every kind that a reader might trip over."""
    ours = [
        (b"hazardstream.reason", b"malformed"),
        (b"__streams.errors.topic", b"t"),
        (b"__streams.errors.partition", b"0"),
        (b"__streams.errors.offset", b"0"),
    ]
    yield Raw(None, None)
    yield Raw(None, b"noise", BAD_NAMES)
    yield Raw(b"\xff", b"\xc3\x01" + bytes(20))
    yield Raw(b"[/bold]\x1b[31m", b"{}", [(b"hazardstream.redriven", b"garbage")])
    yield Raw(None, None, [(b"hazardstream.redriven", None)])
    yield Raw(None, None, [(b"hazardstream.redriven", b"9" * 5000)])
    yield Raw(None, None, [(b"hazardstream.redriven", b"5-999999999999999999")])
    yield Raw(b"k", b"v", [*ours[:3], (b"__streams.errors.offset", b"9" * 5000)])
    yield Raw(b"k", b"v", [*ours[:3], (b"__streams.errors.offset", "\u0663".encode())])
    yield Raw(b"k", b"v", [*ours[:2], (b"__streams.errors.partition", b"-1"), *ours[3:]])
    yield Raw(b"k", b"v", [(b"hazardstream.reason", b"\x1b[31m" * 1000), *ours[1:]])
    yield Raw(b"k", b"v", [(b"hazardstream.redrive_attempt", b"9" * 5000), *ours])
    yield Raw(b"k", None, [(b"hazardstream.redrive_attempt", None), *ours])
    yield Raw(b"", b"", [*ours, (b"hazardstream.timestamp", b"9" * 5000)])
    yield Raw(b"", b"", [*ours, (b"hazardstream.timestamp", b"999999999999999999")])


def strange_states() -> Iterator[Raw]:
    """Alarm states that are Avro, and make no sense."""
    schema = flagship_schema("HazardState")
    base = {"module_id": "m", "rack_id": "r", "ts": -1, "state": "ACTIVE", "priority": "", "alarm_id": ""}
    base |= dict.fromkeys(("pending_since_ts", "clearing_since_ts", "onset_ts"))
    base |= {"hazard_probability": float("nan"), "peak_probability": float("nan"), "model_version": ""}
    changes: list[dict[str, Any]] = [{}, {"priority": "NO SUCH"}, {"state": "NORMAL", "pending_since_ts": -(2**62)}]
    for number, change in enumerate(changes):
        value = encode(base | change, parsed(schema), single_object_prefix(schema))
        yield Raw(b"m%d" % number, value)
        yield Raw(None, value)


def test_a_worker_and_every_command_get_over_what_strangers_write(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = [role for role in stage.pipeline.topics if role != "input"]
    for role in roles:
        for partition, record in product(range(stage.partitions), garbage()):
            if role == "alarm_state" and record.key is None:
                continue  # a compacted topic takes none without a key
            send(stage, role, partition, record)
    set_topic(stage, "dead_letters", message_timestamp_after_max_ms=2**63 - 1)
    for timestamp_ms in (-1, 0, 2**62):
        send(stage, "dead_letters", 0, *garbage(), timestamp_ms=timestamp_ms)
    for partition, record in product(range(stage.partitions), strange_states()):
        if record.key is not None:
            send(stage, "alarm_state", partition, record)
    for start in range(2):
        with stage.worker() as worker:
            stage.publish([("m", b"noise")])
            hot = {"max_surface_temp_c": 90.0, "avg_surface_temp_c": 80.0, "offgas_co_ppm": 900.0}
            stage.publish_readings(
                reading(f"m{i}", START_MS + start * 600_000 + t * 10_000, **hot) for i in range(3) for t in range(12)
            )
            worker.await_consumed(37)
            worker.await_ready()
            assert worker.stop() == 0
    assert dlq(stage, "list", "--top-keys", "5")["letters"] >= 2
    assert dlq(stage, "show", "--limit", "50")["letters"]
    assert dlq(stage, "redrive", "--dry-run")["due"]
    settings = Settings(pipeline=str(stage.pipeline_file), bootstrap_servers=stage.bootstrap)
    for role in roles:
        follow(settings, Tail(role, from_beginning=True, limit=14, group=None))
        shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(shown) == 14


def test_records_without_a_timestamp_move_no_clock(stage: Stage) -> None:
    """Their producer sent -1, which brokers accept: nothing says how far ahead such a reading is."""
    set_topic(stage, "input", message_timestamp_type="CreateTime")
    in_2096 = [Raw(b"m", avro(reading("m", 4_000_000_000_000 + n))) for n in range(2)]
    with stage.worker() as worker:
        worker.await_ready()
        stage.publish_readings(reading("m", START_MS + n * 10_000) for n in range(10))
        for partition in range(2):
            send(stage, "input", partition, *in_2096, timestamp_ms=-1)
        stage.publish_readings(reading("m", START_MS + n * 10_000) for n in range(10, 20))
        wait_until(lambda: stage.outcomes() >= 24, "all outcomes")
        assert worker.stop() == 0
    expected = assert_equals_uninterrupted_run(stage)
    assert sorted(expected.rejected.values()) == ["no_timestamp"] * 4
    assert len(expected.probability) == 20
    # A copy gets a timestamp, and then it is plain that the reading is ahead.
    preview = dlq(stage, "redrive", "--dry-run")
    assert preview["would_fail_again"] == {"future": 4}
