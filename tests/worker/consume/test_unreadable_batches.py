"""A batch that the client cannot read stops its partition, says so, and is gone past only when the operator says so."""

import json
from unittest.mock import Mock

import pyarrow as pa
import pytest

from common.errors import DependencyDownError, UserError
from tests.dlq_commands import dlq
from tests.harness import START_MS, Stage, avro, reading, wait_until
from tests.raw_batches import ZSTD, Raw, batch, produce, records_section
from worker.consume.unreadable import Unreadable, parse_places
from worker.encode.dead_letter import letter_of
from worker.hot_swap.window_rebuild import WindowRebuild
from worker.kafka.client_config import client_config
from worker.kafka.topic_reader import TopicReader
from worker.model.package import load_package
from worker.observe.metrics import Metrics
from worker.score.scorer import scorer_of

TOO_MUCH = 110_000_000  # more than receive.message.max.bytes, once inflated


def produce_unreadable(stage: Stage, records: int) -> int:
    """A batch of a few kB on the wire; its first offset."""
    section = records_section([Raw(b"m", bytes(TOO_MUCH)), *[Raw(b"m", b"noise")] * (records - 1)])
    squeezed = pa.Codec("zstd").compress(section, asbytes=True)
    encoded = batch(squeezed, records, codec=ZSTD)
    return produce(stage.bootstrap, stage.pipeline.topics["input"], 0, encoded)


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_batch_that_cannot_be_inflated_is_reported_and_skipped_only_when_named(stage: Stage) -> None:
    def send(*times: int) -> None:
        stage.publish(((b"m", avro(reading("m", START_MS + t * 10_000))) for t in times), partition=0)

    send(0, 1)
    first, second = produce_unreadable(stage, 5), produce_unreadable(stage, 1)
    assert (first, second) == (2, 7)
    send(2, 3)
    stage.publish([(b"n", avro(reading("n", START_MS)))], partition=1)
    with stage.worker() as worker:
        worker.await_reason("HAZARDSTREAM_SKIP_UNREADABLE=0/2")
        worker.await_scored(3)  # what lies before it, and the other partition
        assert worker.metric("hazardstream_partitions_unreadable") == 1
        assert worker.stop() == 0
        logged = [json.loads(line) for line in worker.log.read_text().splitlines()]
        assert sum("compress" in str(line) for line in logged) <= 6
    # Named as it is told, and only that one.
    with stage.worker(skip_unreadable="0/2") as worker:
        worker.await_reason("HAZARDSTREAM_SKIP_UNREADABLE=0/7")
        assert worker.stop() == 0
    letter = letter_of(stage.committed("dead_letters")[0])
    assert letter is not None
    assert (letter.reason, letter.source[1:]) == ("unreadable", (0, 2))
    assert letter.said["hazardstream.last_offset"] == "6"
    with stage.worker(skip_unreadable="0/2,0/7") as worker:
        worker.await_scored(2)
        worker.await_ready()
        assert worker.stop() == 0
    # A rebuild goes past what was skipped when it was live, without being told again.
    with stage.worker() as worker:
        send(4)
        worker.await_scored(1)
        worker.await_ready()
        assert worker.stop() == 0
    scored = [
        (r["source_offset"], r["readings_in_window"]) for r in stage.records("predictions") if r["module_id"] == "m"
    ]
    assert scored == [(0, 1), (1, 2), (8, 3), (9, 4), (10, 5)]
    assert len(stage.committed("dead_letters")) == 2
    # So does a rebuild of windows for another model.
    package = load_package(stage.model, version="1")
    scorer = scorer_of(stage.pipeline, package, package.policy, stage.writer_schema_of)
    with TopicReader(client_config(stage.bootstrap)) as reader:
        WindowRebuild(scorer, stage.pipeline, reader, "").chase({0: (11, START_MS + 40_000)})
    assert scorer.windows.held == 1
    said = dlq(stage, "redrive", "--yes")
    assert said["redriven"] == 0
    assert sum(said["skipped"].values()) == 2


@pytest.mark.parametrize("text", ["3", "a/b", "1/2;3/4", "-1/3", "1/" + "9" * 30])
def test_an_invalid_place_is_reported(text: str) -> None:
    with pytest.raises(UserError, match="write PARTITION/OFFSET"):
        parse_places(text)


def test_places_are_read_as_they_are_written() -> None:
    assert parse_places(" 3/512, 0/7,") == {(3, 512), (0, 7)}
    assert parse_places("") == frozenset()


@pytest.mark.kafka
def test_a_dead_letter_topic_that_was_deleted_is_waited_for(stage: Stage) -> None:
    with TopicReader(client_config(stage.bootstrap)) as reader:
        with pytest.raises(DependencyDownError, match=f"no topic {stage.pipeline.input.topic}-gone.*topics create"):
            reader.span_while_running(f"{stage.pipeline.input.topic}-gone", 0)
        with pytest.raises(DependencyDownError, match="has no partition 999"):
            reader.span_while_running(stage.pipeline.outputs.dead_letters.topic, 999)


@pytest.mark.kafka
def test_looking_through_the_dead_letters_is_no_standstill(stage: Stage) -> None:
    stage.publish([("m", b"noise")])
    with stage.worker() as worker:
        wait_until(lambda: stage.outcomes() == 1, "the dead letter")
        assert worker.stop() == 0
    (letter,) = stage.committed("dead_letters")
    beat = Mock()
    config = client_config(stage.bootstrap)
    unreadable = Unreadable(config, stage.pipeline, frozenset(), Mock(), Mock(), Metrics(), beat)
    assert unreadable._skipped_before(letter.partition(), 0) is None
    assert beat.called


@pytest.mark.kafka
def test_a_broker_that_goes_away_while_the_end_of_a_batch_is_looked_for_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consume.unreadable._PATIENCE_S", 0.5)
    closed = {"bootstrap.servers": "127.0.0.1:1"}
    unreadable = Unreadable(closed, stage.pipeline, frozenset(), Mock(), Mock(), Metrics())
    with pytest.raises(DependencyDownError, match="broker"):
        unreadable._end(0, 0, 0)
