"""Bad input of every kind gets its reason and keeps its bytes, or is scored by rule; the worker never stops."""

import random
import struct
import time
from typing import Any

import pytest

from local.audit import audit
from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from tests.comparison import dead_letter_source
from tests.flagship import KNOWN_SCHEMAS, flagship_schema
from tests.harness import NORMAL, START_MS, Stage, avro, reading, wait_until

pytestmark = pytest.mark.kafka

GOOD = avro(reading("m", START_MS))
# key, value, reason
DEAD = {
    "random bytes": (b"m", bytes(random.Random(1).randbytes(64)), "malformed"),
    "empty value": (b"m", b"", "malformed"),
    "truncated avro": (b"m", GOOD[:-3], "malformed"),
    "trailing bytes": (b"m", GOOD + b"\0", "malformed"),
    "bit-flipped union branch": (b"m", GOOD[:-1] + bytes([GOOD[-1] ^ 0x40]), "malformed"),  # of the last field, a null
    "unknown fingerprint": (b"m", b"\xc3\x01" + bytes(8) + GOOD[10:], "unknown_schema"),
    "unknown schema id without a registry": (b"m", b"\0" + struct.pack(">I", 77) + GOOD[10:], "unknown_schema"),
    "a record of another kind": (
        b"m",
        single_object_prefix(flagship_schema("HazardState")) + GOOD[10:],
        "incompatible_schema",
    ),
    "null value": (b"m", None, "null_value"),
    "wrong key": (b"other", GOOD, "wrong_key"),
    "no key": (None, GOOD, "wrong_key"),
    "from the future": (b"m", avro(reading("m", int(time.time() * 1000) + 3_600_000)), "future"),
    "before time began": (b"m", avro(reading("m", -5)), "invalid"),
    "in seconds": (b"m", avro(reading("m", START_MS // 1000)), "implausible_time"),
    "in microseconds": (b"m", avro(reading("m", START_MS * 1000)), "implausible_time"),
    "in nanoseconds": (b"m", avro(reading("m", START_MS * 1_000_000)), "implausible_time"),
    "of the last century": (b"m", avro(reading("m", 900_000_000_000)), "implausible_time"),
    "after all dates": (b"m", avro(reading("m", 2**63 - 1)), "invalid"),
    "no name": (b"", avro(reading("", START_MS)), "invalid"),
    "endless name": (b"m" * 400, avro(reading("m" * 400, START_MS)), "invalid"),
    "no sensor": (b"m", avro(reading("m", START_MS) | dict.fromkeys(NORMAL)), "invalid"),
    "only impossible sensors": (b"m", avro(reading("m", START_MS) | dict.fromkeys(NORMAL, 1e12)), "invalid"),
    "a megabyte of noise": (b"m", random.Random(2).randbytes(1_000_000), "malformed"),
}

FEW, MANY = [("trace", b"abc")], [(f"h{i}", b"") for i in range(3000)]
# key, value, headers, what goes
OMISSIONS = {
    "value": (b"m", bytes(50_000), FEW, {"value"}),
    "headers, beside no value": (b"m", None, [("trace", bytes(50_000))], {"headers"}),
    "headers, beside a value": (b"m", b"noise", [("trace", bytes(50_000))], {"value", "headers"}),
    "headers that are mostly overhead": (b"m", b"noise", MANY, {"value", "headers"}),
    "key": (bytes(50_000), b"noise", FEW, {"value", "headers", "key"}),
}


def test_each_kind_reaches_the_dead_letter_topic_with_its_reason_and_its_bytes(stage: Stage) -> None:
    headers = [("trace", b"\x00\xffabc"), ("trace", b"twice"), ("empty", None)]
    with stage.worker() as worker:
        for key, value, _ in DEAD.values():
            stage.publish([(key, value)], headers=headers)
        stage.publish_readings([reading("m", START_MS + 10_000)])
        wait_until(lambda: stage.outcomes() >= len(DEAD) + 1, "all outcomes")
        assert worker.stop() == 0
    # A key may be hashed to either partition, so records are told apart by what they hold.
    found = {(m.key(), m.value()): m for m in stage.committed("dead_letters")}
    sources = {(m.key(), m.value()): m for m in stage.committed("input")}
    for name, (key, value, reason) in DEAD.items():
        message = found[key, value]
        source = sources[key, value]
        assert dead_letter_source(message) == ((source.partition(), source.offset()), reason), name
        assert message.headers()[: len(headers)] == headers, name
        kept = dict(message.headers()[len(headers) :])
        assert int(kept["hazardstream.timestamp"]) == source.timestamp()[1], name
        assert kept["hazardstream.timestamp_type"] == b"LogAppendTime"
        assert kept["__streams.errors.topic"].decode() == stage.pipeline.input.topic
        assert kept["__streams.errors.message"], name
        assert kept["__streams.errors.exception"].decode() == f"hazardstream.{reason}"
    assert [r["ts"] for r in stage.records("predictions")] == [START_MS + 10_000]


def test_the_words_of_a_dead_letter_name_field_rule_and_value(stage: Stage) -> None:
    with stage.worker():
        stage.publish_readings([reading("m", -5), reading("n" * 300, START_MS)])
        wait_until(lambda: stage.outcomes() == 2, "both dead letters")
    words = sorted(dict(m.headers())["__streams.errors.message"].decode() for m in stage.committed("dead_letters"))
    assert words[0] == f"module_id: it must have at most 200 characters, not '{'n' * 300}'"
    assert words[1] == "ts: it must be at least 1, not -5"


def test_impossible_values_are_masked_and_the_reading_is_scored_on_the_rest(stage: Stage) -> None:
    impossible = [float("nan"), float("inf"), -float("inf"), 1e9, -1e9]
    readings = [reading("m", START_MS + i * 10_000, offgas_h2_ppm=v) for i, v in enumerate(impossible)]
    readings.append(reading("m", START_MS + 60_000, offgas_h2_ppm=None))
    with stage.worker() as worker:
        stage.publish_readings([reading("m", START_MS - 10_000), *readings])
        wait_until(lambda: stage.outcomes() == 7, "all outcomes")
        assert worker.metric("hazardstream_masked_values_total", sensor="offgas_h2_ppm") == len(impossible)
    first, *masked, missing = stage.records("predictions")
    assert first["masked"] == first["imputed"] == []
    assert all(r["masked"] == ["offgas_h2_ppm"] and r["imputed"] == ["offgas_h2_ppm"] for r in masked)
    assert missing["masked"] == []
    assert missing["imputed"] == ["offgas_h2_ppm"]


def test_late_readings_are_dead_letters_and_repeated_ones_are_dropped(stage: Stage) -> None:
    times = [0, 10_000, 10_000, 5_000, -3_600_000, 20_000, 20_000, 5_000]
    with stage.worker() as worker:
        stage.publish_readings(reading("m", START_MS + t) for t in times)
        stage.publish_readings([reading("m", START_MS + 20_000, voltage_v=50.0)])
        worker.await_consumed(len(times) + 1)
        assert worker.metric("hazardstream_deduplicated_total") == 3
        assert worker.metric("hazardstream_dead_letters_total", reason="late") == 1
    # In the order of arrival; and what has other content is no repetition.
    assert [r["ts"] - START_MS for r in stage.records("predictions")] == [0, 10_000, 5_000, 20_000, 20_000]
    (late,) = stage.committed("dead_letters")
    assert dead_letter_source(late)[1] == "late"
    account = audit(stage.pipeline, stage.bootstrap)
    assert (account.scored, account.dead_lettered, account.deduplicated, account.missing) == (5, 1, 3, 0)


@pytest.mark.usefixtures("small_dead_letters")
@pytest.mark.parametrize("large", OMISSIONS)
def test_a_dead_letter_too_large_for_its_topic_leaves_out_what_it_must(stage: Stage, large: str) -> None:
    key, value, headers, omitted = OMISSIONS[large]
    with stage.worker():
        stage.publish([(key, value)], headers=headers)
        stage.publish([("m", avro(reading("m", START_MS)))])
        wait_until(lambda: stage.outcomes() == 2, "both outcomes")
    (letter,) = stage.committed("dead_letters")
    kept = letter.key(), letter.value(), [h for h in letter.headers() if h in headers]
    everything: dict[str, Any] = {"key": key, "value": value, "headers": headers}
    nothing: dict[str, Any] = {"key": None, "value": None, "headers": []}
    assert kept == tuple((nothing if part in omitted else everything)[part] for part in ("key", "value", "headers"))
    said = dict(letter.headers())
    for part in omitted:
        assert b"takes 20000" in said[f"hazardstream.{part}_omitted"]
    assert {name for name in said if name.endswith("_omitted")} == {f"hazardstream.{part}_omitted" for part in omitted}


def test_bit_flips_never_stop_the_worker(stage: Stage) -> None:
    rng = random.Random(4)
    flipped = []
    for _ in range(2000):
        value = bytearray(GOOD)
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        flipped.append((b"m", bytes(value)))
    with stage.worker() as worker:
        stage.publish(flipped)
        worker.await_consumed(len(flipped))
        stage.publish_readings([reading("after", START_MS)])
        wait_until(lambda: any(r["module_id"] == "after" for r in stage.records("predictions")), "still scoring")
        assert worker.stop() == 0


def test_strict_pipelines_refuse_readings_with_an_impossible_value(stage: Stage) -> None:
    text = stage.pipeline_file.read_text().replace("on_invalid_sensor: mask", "on_invalid_sensor: dead_letter")
    stage.pipeline_file.write_text(text)
    with stage.worker():
        stage.publish_readings([reading("m", START_MS, voltage_v=1e9), reading("m", START_MS + 1)])
        wait_until(lambda: stage.outcomes() == 2, "both outcomes")
    (letter,) = stage.committed("dead_letters")
    words = dict(letter.headers())["__streams.errors.message"].decode()
    assert words == "voltage_v: it must be at most 2000, not 1000000000.0"


def test_encoding_is_avros(stage: Stage) -> None:
    """The columnar encoder writes what fastavro would."""
    with stage.worker():
        stage.publish_readings([reading("modül", START_MS), reading("m", START_MS, voltage_v=float("nan"))])
        wait_until(lambda: stage.outcomes() == 2, "both outcomes")
    schema = flagship_schema("HazardPrediction")
    for message in stage.committed("predictions"):
        record = decode(message.value(), writer_schema_lookup(None, KNOWN_SCHEMAS), schema)
        assert message.value() == encode(record, parsed(schema), single_object_prefix(schema))
