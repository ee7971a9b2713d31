"""Workers count what they score, by site and hour of event time, and publish each count once."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.arrays import Float
from common.times import HOUR_MS
from local.audit import read
from schemas.codec import decode
from schemas.text_column import TextColumn
from tests.flagship import PIPELINE, flagship_schema
from tests.harness import START_MS, Stage, reading, wait_until
from worker.config.pipeline import Monitor
from worker.encode.drift_sketch import OTHER_SITES, WHOLE_FLEET, Sites, sampled
from worker.model.package import load_package
from worker.model.reference import Reference, build_reference
from worker.score.readings import Readings

values = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6), st.sampled_from([0.0, 25.1, 25.2]))
HOURS_MS = START_MS // HOUR_MS * HOUR_MS


@given(arrays(np.float64, (40, 3), elements=values))
def test_training_readings_fall_into_the_bins_in_which_training_counted_them(features: Float) -> None:
    names, probability = ["a", "b", "c"], np.linspace(0, 1, len(features))
    reference = Reference(build_reference(names, features, probability, {"a_less_b": {"a": 1.0, "b": -1.0}}))
    # Training keeps single precision, workers have double.
    bins = reference.bins(features.astype(np.float32).astype(np.float64), probability)
    counted = np.stack([np.bincount(column, minlength=reference.width) for column in bins.T])
    assert reference.names == [*names, "a_less_b", "probability"]
    assert counted[[0, 1, 2, 4]].tolist() == reference.trained()[[0, 1, 2, 4]].tolist()
    assert counted.sum(axis=1).tolist() == [len(features)] * 5


def test_one_reading_in_sixteen_is_counted_and_those_of_every_module() -> None:
    rows = sampled(np.arange(160_000))
    assert len(rows) == pytest.approx(10_000, rel=0.01)
    for modules in (7, 16, 64, 1000):  # in step with the partition's order
        share = np.bincount(rows % modules, minlength=modules) / (160_000 / modules)
        assert share.min() > 1 / 40
        assert share.max() < 1 / 10


def groups(*names: str) -> Readings:
    n = len(names)
    text = TextColumn.of([name.encode() for name in names])
    return Readings(np.arange(n), text, text, np.zeros(n, np.int64), np.zeros((n, 1)), np.ones((n, 1), np.bool_))


def monitor(site: dict[str, str] | None) -> Monitor:
    described = PIPELINE.monitor
    assert described is not None
    return Monitor.model_validate(described.model_dump(by_alias=True) | {"site": site})


def test_a_site_is_what_the_pipeline_says_or_the_whole_fleet() -> None:
    assert Sites(monitor(None)).of(groups("North-Rack1")) == [WHOLE_FLEET]
    by_rule = Sites(monitor({"of": "group", "pattern": r"(\w+)-"}))
    assert by_rule.of(groups("North-Rack1", "South-Rack1", "???")) == ["North", "South", OTHER_SITES]


def test_a_flood_of_names_is_one_site_more() -> None:
    named = Sites(monitor({"pattern": "(.+)"})).of(groups(*(f"site{i}" for i in range(5000))))
    assert len(set(named)) == 201
    assert named[-1] == OTHER_SITES


@pytest.mark.parametrize(("pattern", "why"), [("Rack", "one group"), ("(", "no regular expression")])
def test_a_rule_that_names_no_site_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        monitor({"pattern": pattern})


def three_hours(modules: int = 8) -> Iterator[dict[str, Any]]:
    """Readings a minute, more than three hours of them; a sensor is missing every other minute."""
    for minute in range(190):
        for module in range(modules):
            ambient = None if minute % 2 else 24.0
            yield reading(f"M{module}", HOURS_MS + minute * 60_000, ambient_temp_c=ambient)


def expected(stage: Stage) -> dict[tuple[int, int], list[Message]]:
    """Records to be counted, by partition and hour."""
    cells: dict[tuple[int, int], list[Message]] = {}
    schema, lookup = flagship_schema("SensorReading"), stage.writer_schema_of
    for message in read(stage.pipeline.input.topic, stage.bootstrap):
        if len(sampled(np.array([message.offset()]))):
            ts = decode(message.value(), lookup, schema)["ts"]
            cells.setdefault((message.partition(), ts // HOUR_MS * HOUR_MS), []).append(message)
    return cells


def published(stage: Stage) -> list[dict[str, Any]]:
    schema, lookup = flagship_schema("FeatureSketch"), stage.writer_schema_of
    return [decode(m.value(), lookup, schema) for m in read(stage.pipeline.topics["sketches"], stage.bootstrap)]


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_worker_publishes_the_counts_of_each_hour_that_is_over(stage: Stage) -> None:
    stage.publish_readings(three_hours())
    with stage.worker(batch_max_messages="50") as worker:
        worker.await_scored(8 * 190)
        assert worker.metric("hazardstream_sketched_readings_total") == sum(map(len, expected(stage).values()))
        assert worker.stop() == 0
    reference = load_package(stage.model, version="1").reference
    assert reference is not None
    wanted = {cell: messages for cell, messages in expected(stage).items() if cell[1] < HOURS_MS + 3 * HOUR_MS}
    sketches = {(s["source_partition"], s["hour_ts"]): s for s in published(stage)}
    assert sketches.keys() == wanted.keys()
    for cell, messages in wanted.items():
        sketch = sketches[cell]
        assert sketch["site"] == WHOLE_FLEET
        assert sketch["readings"] == len(messages)
        assert sketch["keys"] == len({m.key() for m in messages})
        assert sketch["source_offset"] == max(m.offset() for m in messages)
        assert sketch["reference"] == reference.digest
        assert {sum(counts) for counts in sketch["columns"].values()} == {len(messages)}
        schema, lookup = flagship_schema("SensorReading"), stage.writer_schema_of
        absent = sum(decode(m.value(), lookup, schema)["ambient_temp_c"] is None for m in messages)
        assert sketch["missing"]["ambient_temp_c"] == absent
        assert sketch["missing"]["voltage_v"] == 0
        assert list(sketch["schemas"].values()) == [len(messages)]


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_kill_doubles_no_count(stage: Stage) -> None:
    messages = list(three_hours())
    stage.publish_readings(messages[:800])  # less than two hours: the third is all the successor's
    with stage.worker(batch_max_messages="20") as worker:
        worker.await_consumed(700)
        worker.kill()
    stage.publish_readings(messages[800:])
    with stage.worker(batch_max_messages="50"):
        wait_until(lambda: len(stage.committed("predictions")) == 8 * 190, "all readings scored")
    counted = Counter[tuple[int, int]]()
    for sketch in published(stage):
        counted[sketch["source_partition"], sketch["hour_ts"]] += sketch["readings"]
    wanted = expected(stage)
    assert counted
    assert all(count <= len(wanted[cell]) for cell, count in counted.items())
    last = {cell: n for cell, n in counted.items() if cell[1] == HOURS_MS + 2 * HOUR_MS}
    assert last == {cell: len(wanted[cell]) for cell in last}, "what the successor counted from the begin is complete"
