"""Dead letters go back to the input topic after a fix, each once, whatever is killed or run at the same time."""

import signal
from collections import Counter

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry
from schemas.wire import confluent_prefix
from tests.dlq_commands import dlq, start
from tests.flagship import flagship_schema
from tests.harness import START_MS, Stage, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.dead_letters.redrive import CHUNK_LETTERS, CannotReturnError, Originals, input_topic
from worker.dead_letters.survey import read_offsets, write_offsets
from worker.encode.dead_letter import ATTEMPT, ERRORS, OMITTED, ORIGIN, REASON, TOPIC_ID, Letter
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topic_reader import TopicReader

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
HEADERS = [("trace", b"\x00\xffabc"), ("trace", b"twice"), ("empty", None)]

# The second commit's transaction is complete but not committed; or it is committed and nobody was told.
DIES = """
import os, signal, sys
import worker.kafka.client_config
from hazardstream.cli import main

class Producer(worker.kafka.client_config.ReportingProducer):
    commits = 0
    def commit_transaction(self, *timeout):
        Producer.commits += 1
        if Producer.commits == 2 and {before}:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit_transaction(*timeout)
        if Producer.commits == 2:
            os.kill(os.getpid(), signal.SIGKILL)

worker.kafka.client_config.ReportingProducer = Producer
main()
"""


def redriven_from(stage: Stage) -> Counter[str]:
    """Addresses of the letters whose records are on the input topic again."""
    headers = [dict(m.headers() or ()) for m in stage.committed("input")]
    return Counter(h[ORIGIN].decode() for h in headers if ORIGIN in h)


def null_letters(stage: Stage, count: int) -> set[str]:
    """Make this number of dead letters, and give their addresses."""
    with stage.worker() as worker:
        stage.publish((b"%d" % i, None) for i in range(count))
        wait_until(lambda: stage.outcomes() == count, "all dead letters")
        assert worker.stop() == 0
    return {f"{m.partition()}/{m.offset()}" for m in stage.committed("dead_letters")}


def ends(stage: Stage, role: str) -> int:
    return len(stage.committed(role))


def test_letters_go_back_after_a_fix_and_are_scored_once_though_redriven_twice(stage: Stage, registry: str) -> None:
    schema = flagship_schema("SensorReading")
    prefix = confluent_prefix(SchemaRegistry(registry).register(f"{stage.pipeline.input.topic}-value", schema))
    sent = [encode(reading("m", START_MS + i * 10_000), parsed(schema), prefix) for i in range(40)]
    with stage.worker():
        stage.publish((("m", value) for value in sent), headers=HEADERS)
        stage.publish([("m", b"noise")])
        wait_until(lambda: stage.outcomes() == 41, "all dead letters")
    assert not stage.committed("predictions")
    originals = stage.committed("input")

    stage.registry_url = registry
    foreseen = dlq(stage, "redrive", "--dry-run")
    assert foreseen["due"] == {"unknown_schema": 40, "malformed": 1}
    assert foreseen["would_fail_again"] == {"malformed": 1}
    with stage.worker() as worker:
        assert dlq(stage, "redrive", "--reason", "unknown_schema", "--yes")["redriven"] == 40
        wait_until(lambda: len(stage.committed("predictions")) >= 40, "all scored")
        again = dlq(stage, "redrive", "--reason", "unknown_schema", "--yes")
        assert (again["redriven"], again["redriven_before"]) == (0, {"unknown_schema": 40})
        assert worker.stop() == 0
    assert [r["ts"] for r in stage.records("predictions")] == [START_MS + i * 10_000 for i in range(40)]
    assert [r["readings_in_window"] for r in stage.records("predictions")] == list(range(1, 41))
    returned = stage.committed("input")[len(originals) :]
    assert [(m.key(), m.value(), m.partition(), m.headers()[:3]) for m in returned] == [
        (m.key(), m.value(), m.partition(), m.headers()) for m in originals[:40]
    ]
    assert {dict(m.headers())[ATTEMPT] for m in returned} == {b"1"}
    listed = {row["reason"]: row for row in dlq(stage, "list")["reasons"]}
    assert (listed["unknown_schema"]["letters"], listed["unknown_schema"]["redriven"]) == (40, 40)
    assert listed["malformed"]["redriven"] == 0
    (shown,) = dlq(stage, "show", "--reason", "unknown_schema", "--limit", "1")["letters"]
    assert shown["redriven"]


def test_a_pipeline_made_lenient_takes_its_letters_back(stage: Stage) -> None:
    text = stage.pipeline_file.read_text()
    stage.pipeline_file.write_text(text.replace("on_invalid_sensor: mask", "on_invalid_sensor: dead_letter"))
    with stage.worker():
        stage.publish_readings([reading("m", START_MS, voltage_v=1e9), reading("n", START_MS)])
        wait_until(lambda: stage.outcomes() == 2, "both outcomes")
    stage.pipeline_file.write_text(text)
    with stage.worker() as worker:
        assert dlq(stage, "redrive", "--yes")["redriven"] == 1
        wait_until(lambda: len(stage.committed("predictions")) == 2, "the letter is scored")
        assert worker.stop() == 0
    assert {r["module_id"]: r["masked"] for r in stage.records("predictions")} == {"n": [], "m": ["voltage_v"]}


def test_a_rebuild_leaves_out_what_was_refused_though_it_would_pass_today(stage: Stage) -> None:
    """Else a redriven record would be a duplicate of one that was never scored, and windows others than they were."""
    text = stage.pipeline_file.read_text()
    stage.pipeline_file.write_text(text.replace("on_invalid_sensor: mask", "on_invalid_sensor: dead_letter"))
    impossible = [reading("m", START_MS + t, voltage_v=1e9) for t in (10_000, 30_000)]
    with stage.worker() as worker:
        stage.publish_readings([reading("m", START_MS), impossible[0], reading("m", START_MS + 20_000), impossible[1]])
        stage.publish_readings([reading("m", START_MS + 20_000 - 1)])
        wait_until(lambda: stage.outcomes() == 5, "all outcomes")
        assert worker.stop() == 0
    stage.pipeline_file.write_text(text)
    with stage.worker() as worker:
        stage.publish_readings([reading("m", START_MS + 25_000)])
        wait_until(lambda: stage.outcomes() == 6, "it is scored")
        assert dlq(stage, "redrive", "--reason", "invalid", "--yes")["redriven"] == 2
        wait_until(lambda: stage.outcomes() == 8, "both are scored, in the order of arrival")
        assert worker.stop() == 0
    scored = [(r["ts"] - START_MS, r["readings_in_window"]) for r in stage.records("predictions")]
    assert scored == [(0, 1), (20_000, 2), (19_999, 3), (25_000, 4), (10_000, 5), (30_000, 6)]


def await_letters(stage: Stage, count: int) -> None:
    wait_until(lambda: dlq(stage, "list")["letters"] == count, f"{count} letters")


def test_a_letter_that_fails_again_counts_its_attempts(stage: Stage) -> None:
    with stage.worker() as worker:
        stage.publish([("m", b"noise")], headers=[("hazardstream.reason", b"theirs"), *HEADERS])
        for attempt in (1, 2):
            await_letters(stage, attempt)
            assert dlq(stage, "redrive", "--yes", "--max-attempts", "2")["redriven"] == 1
        wait_until(lambda: dlq(stage, "list")["letters"] == 3, "the letter for the third time")
        told = dlq(stage, "redrive", "--yes", "--max-attempts", "2")
        assert (told["redriven"], told["attempts_exhausted"]) == (0, {"malformed": 1})
        assert worker.stop() == 0
    assert [letter["attempts"] for letter in dlq(stage, "show")["letters"]] == [0, 1, 2]
    attempts: list[bytes | None] = [None, b"1", b"2"]
    for message, count in zip(stage.committed("input"), attempts, strict=True):
        assert message.value() == b"noise"
        assert message.headers()[:4] == [("hazardstream.reason", b"theirs"), *HEADERS]
        assert dict(message.headers()).get(ATTEMPT) == count
        assert len(message.headers()) == 4 + 2 * bool(count)


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    null_letters(stage, 3)
    told = dlq(stage, "redrive", "--dry-run")
    assert (told["due"], told["redriven"], told["would_fail_again"]) == ({"null_value": 3}, 0, {"null_value": 3})
    assert (ends(stage, "input"), ends(stage, "dead_letters")) == (3, 3)


def test_nobody_to_ask_is_said_and_changes_nothing(stage: Stage) -> None:
    process = start(stage, "redrive")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--yes" in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("before", [True, False], ids=["before its commit", "after its commit"])
def test_a_redrive_killed_in_the_middle_and_run_again_doubles_and_loses_nothing(stage: Stage, before: bool) -> None:
    addresses = null_letters(stage, 3 * CHUNK_LETTERS)
    killed = start(stage, "redrive", "--yes", launcher=("-c", DIES.format(before=before)))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    committed = CHUNK_LETTERS if before else 2 * CHUNK_LETTERS
    told = dlq(stage, "redrive", "--yes")
    assert told["redriven_before"] == {"null_value": committed}
    assert told["redriven"] == 3 * CHUNK_LETTERS - committed
    assert redriven_from(stage) == Counter(addresses)
    with stage.worker() as worker:
        worker.await_consumed(len(addresses))
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_redrives_at_the_same_time_double_nothing(stage: Stage) -> None:
    addresses = null_letters(stage, 4 * CHUNK_LETTERS)
    processes = [start(stage, "redrive", "--yes", "--json") for _ in range(3)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert 0 in {code for _, code in ended}
    assert all("another redrive" in complaint for (_, complaint), code in ended if code != 0)
    dlq(stage, "redrive", "--yes")
    assert redriven_from(stage) == Counter(addresses)


@pytest.mark.usefixtures("small_dead_letters")
def test_what_was_too_large_to_keep_is_fetched_from_the_input_topic_while_it_is_there(stage: Stage) -> None:
    large = bytes(50_000)
    with stage.worker() as worker:
        stage.publish([("m", large)], headers=HEADERS)
        wait_until(lambda: stage.outcomes() == 1, "the dead letter")
        (shown,) = dlq(stage, "show")["letters"]
        assert set(shown["omitted"]) == {"value"}
        assert dlq(stage, "redrive", "--yes")["redriven"] == 1
        wait_until(lambda: dlq(stage, "list")["letters"] == 2, "it fails again")
        assert worker.stop() == 0
    first, second = stage.committed("input")
    assert (first.value(), first.key(), first.headers()) == (second.value(), second.key(), second.headers()[:3])
    admin = admin_client(client_config(stage.bootstrap))
    gone = TopicPartition(stage.pipeline.input.topic, second.partition(), second.offset() + 1)
    next(iter(admin.delete_records([gone]).values())).result()
    told = dlq(stage, "redrive", "--yes")
    assert told["redriven"] == 0
    (why,) = told["skipped"]
    assert "no longer in" in why


@pytest.mark.parametrize(("told", "returns"), [("former", False), ("now", True), ("", True)])
def test_what_was_too_large_is_never_taken_from_another_topic_of_the_same_name(
    stage: Stage, told: str, returns: bool
) -> None:
    stage.publish([("m", b"of the new topic")])
    (now,) = stage.committed("input")
    topic, partition, offset = now.topic(), now.partition(), now.offset()
    config = client_config(stage.bootstrap)
    with TopicReader(config) as reader:
        source = input_topic(config, reader, topic)
        said = {ERRORS + "topic": topic, ERRORS + "partition": str(partition), ERRORS + "offset": str(offset)}
        said |= {REASON: "malformed", OMITTED["value"]: "1", TOPIC_ID: source.topic_id if told == "now" else told}
        letter = Letter(partition, 0, now.timestamp()[1], now.key(), None, [], said)
        if returns:
            assert Originals(reader, source).complete(letter).value == b"of the new topic"
        else:
            with pytest.raises(CannotReturnError, match="created again since"):
                Originals(reader, source).complete(letter)


@given(st.sets(st.integers(0, 60)))
def test_a_marker_names_just_its_offsets(offsets: set[int]) -> None:
    if offsets:
        ranges = read_offsets(write_offsets(sorted(offsets)))
        assert [o for first, last in ranges for o in range(first, last + 1)] == sorted(offsets)
