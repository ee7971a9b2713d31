"""What `dlq list` and `dlq show` say of dead letters."""

import pytest

from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry
from schemas.wire import confluent_prefix
from tests.dlq_commands import dlq, start
from tests.flagship import flagship_schema
from tests.harness import START_MS, Stage, avro, reading, wait_until
from worker.encode.dead_letter import letter_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
GOOD = avro(reading("m", START_MS))
HEADERS = [("trace", b"\x00\xffabc"), ("trace", b"twice"), ("empty", None)]


def test_letters_are_counted_by_reason_time_and_key(stage: Stage) -> None:
    with stage.worker():
        stage.publish([("m", GOOD[:-3]), ("m", b"noise"), ("n", GOOD), ("m", None), ("m", GOOD)])
        wait_until(lambda: stage.outcomes() == 5, "all outcomes")
    told = dlq(stage, "list", "--top-keys", "1")
    assert {row["reason"]: row["letters"] for row in told["reasons"]} == {
        "malformed": 2,
        "wrong_key": 1,
        "null_value": 1,
    }
    assert (told["letters"], told["redriven"], told["foreign"]) == (4, 0, 0)
    assert told["keys"] == [{"key": "m", "letters": 3}]
    times = sorted(int(dict(m.headers())["hazardstream.timestamp"]) for m in stage.committed("dead_letters"))
    assert all(row["first"] <= row["last"] for row in told["reasons"])
    assert dlq(stage, "list", "--reason", "malformed", "--reason", "wrong_key")["letters"] == 3
    assert dlq(stage, "list", "--key", "n")["letters"] == 1
    moment = min(row["first"] for row in told["reasons"])
    assert dlq(stage, "list", "--from", moment)["letters"] == 4
    assert dlq(stage, "list", "--to", moment)["letters"] == 0
    last = max(row["last"] for row in told["reasons"])
    assert dlq(stage, "list", "--to", last)["letters"] == sum(t < times[-1] for t in times)


def test_a_letter_is_shown_as_far_as_it_can_be_read_with_the_rule_it_breaks(stage: Stage, registry: str) -> None:
    stage.registry_url = registry
    schema = flagship_schema("SensorReading")
    prefix = confluent_prefix(SchemaRegistry(registry).register(f"{stage.pipeline.input.topic}-value", schema))
    cut = encode(reading("m", START_MS), parsed(schema), prefix)[:-20]
    bad = {"cut": cut, "noise": b"\xff\x00", "negative": avro(reading("negative", -5)), "wrong": GOOD}
    with stage.worker():
        stage.publish(bad.items(), headers=HEADERS)
        wait_until(lambda: stage.outcomes() == 4, "all dead letters")
    told = {letter["key"]: letter for letter in dlq(stage, "show")["letters"]}
    broken = told["cut"]
    assert broken["reason"] == "malformed"
    assert broken["fields"] == {k: v for k, v in reading("m", START_MS).items() if k in broken["fields"]}
    assert len(broken["fields"]) == 10
    assert broken["unread"][:2] == ["offgas_voc_ppm", "ambient_temp_c"]
    assert broken["fault"].startswith("offgas_voc_ppm: the value ends inside the double")
    assert broken["schema"].startswith("registry id")
    assert broken["value_hex"] == cut.hex()
    assert told["noise"]["value_hex"] == "ff00"
    assert "neither 00" in told["noise"]["fault"]
    assert told["negative"]["violations"] == ["ts: it must be at least 1, not -5"]
    assert told["negative"]["fields"]["ts"] == -5
    assert told["wrong"]["now"] == told["wrong"]["reason"] + ": " + told["wrong"]["message"]
    assert told["wrong"]["headers"] == [
        {"name": "trace", "value": "0x00ff616263"},
        {"name": "trace", "value": "twice"},
        {"name": "empty", "value": None},
    ]
    (only,) = dlq(stage, "show", "--at", broken["at"])["letters"]
    assert only == broken
    process = start(stage, "show", "--at", broken["at"])
    assert "offgas_voc_ppm" in process.communicate(timeout=60)[0]


def test_a_dead_letter_separates_the_original_headers_from_its_own(stage: Stage) -> None:
    """A record that was somebody else's dead letter before keeps the headers that it had then."""
    theirs = [("hazardstream.reason", b"late"), ("__streams.errors.offset", b"9"), *HEADERS]
    with stage.worker():
        stage.publish([("m", None)], headers=theirs)
        wait_until(lambda: stage.outcomes() == 1, "the dead letter")
    letter = letter_of(stage.committed("dead_letters")[0])
    assert letter is not None
    assert letter.headers == theirs
    assert (letter.reason, letter.source[2]) == ("null_value", 0)


@pytest.mark.parametrize("wrong", [("--at", "17"), ("--from", "yesterday")], ids=str)
def test_an_invalid_address_or_time_is_reported(stage: Stage, wrong: tuple[str, str]) -> None:
    process = start(stage, "show", *wrong)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert wrong[1] in complaint
    assert "write" in complaint
