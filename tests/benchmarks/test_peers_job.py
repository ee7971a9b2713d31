import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.__main__ import ratios
from benchmarks.peers.bench import Result
from benchmarks.peers.catalogue import JVM, PEERS
from benchmarks.peers.environments import version
from benchmarks.peers.expected import Expected
from benchmarks.peers.job import Codec, Task, Window, read_task
from benchmarks.peers.running import Pace
from pipelines.battery_hazard.simulator.fleet import Fleet
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from tests.flagship import KNOWN_SCHEMAS, flagship_schema
from worker.windows.feature_spec import FeatureSpec
from worker.windows.offline import offline_features

SENSORS = tuple(flagship_schema("SensorReading")["fields"][n]["name"] for n in range(3, 12))
SPEC = FeatureSpec(
    sensors=SENSORS,
    differences=("avg_surface_temp_c", "voltage_v"),
    rolling=("voltage_v", "current_a"),
    windows=(3, 10),
    max_span_ms=900_000,
    per={"voltage_v": "cells"},
)
SCALES = SPEC.scales({"cells": 14})


@pytest.fixture
def task() -> Task:
    reading, prediction = flagship_schema("SensorReading"), flagship_schema("HazardPrediction")
    return Task(
        bootstrap="",
        source="",
        sink="",
        group="",
        directory="",
        booster="",
        mean=[],
        scale=[],
        divisors=SCALES.tolist(),
        spec=json.loads(SPEC.model_dump_json()),
        threshold=0.5,
        reading_schema=reading,
        prediction_schema=prediction,
        reading_prefix=single_object_prefix(reading).hex(),
        prediction_prefix=single_object_prefix(prediction).hex(),
        jars="",
        port=0,
    )


def test_a_peers_window_gives_the_features_that_our_kernel_gives_also_when_kept_as_bytes(task: Task) -> None:
    steps = list(Fleet(1, seed=3, start_ms=1_780_000_000_000).steps(40))
    ts = np.concatenate([step.ts for step in steps])
    ts[25:] += 800_000  # a gap, after which a few old readings are within the span and the others are not
    values = np.concatenate([step.values[:, : len(SENSORS)] for step in steps])
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    ours, _ = offline_features(SPEC, np.zeros(40, np.int64), ts, values, SCALES[None])
    kept = b""
    for when, sensors, expected in zip(ts.tolist(), values.tolist(), ours, strict=True):
        window = Window(task.spec, task.divisors, kept)
        window.add(when, [None if np.isnan(value) else value for value in sensors])
        np.testing.assert_allclose(window.features(), expected, rtol=1e-9, atol=1e-12)
        kept = bytes(window)


def test_a_peers_prediction_is_one_by_our_schema(task: Task) -> None:
    reading = {"module_id": "M", "rack_id": "R", "ts": 7} | dict.fromkeys(SENSORS, 1.0) | {SENSORS[0]: None}
    value = Codec(task).encode(reading, 0.75, 4, partition=2, offset=9)
    found = decode(value, writer_schema_lookup(None, KNOWN_SCHEMAS), flagship_schema("HazardPrediction"))
    assert (found["module_id"], found["ts"], found["hazard_probability"], found["hazardous"]) == ("M", 7, 0.75, True)
    assert (found["readings_in_window"], found["imputed"]) == (4, [SENSORS[0]])
    assert (found["source_partition"], found["source_offset"]) == (2, 9)


def test_a_task_reads_as_it_was_written(task: Task, tmp_path: Path) -> None:
    task.write(tmp_path / "task.json")
    assert read_task(str(tmp_path / "task.json")) == task


# Two modules, three readings each, in the order of time.
EXPECTED = Expected(
    features=np.zeros((6, 1)),
    names=["f"],
    probability=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    place=np.array([0, 0, 1, 1, 2, 2]),
    module=np.array([0, 1, 0, 1, 0, 1]),
    row={},
)


def test_the_first_predictions_of_each_module_are_sound_however_far_it_got() -> None:
    found = [(1, 0.2), (0, 0.1), (2, 0.3000005)]
    assert EXPECTED.faults(found) == EXPECTED.gaps(found) == []


def test_a_prediction_that_is_off_or_came_twice_is_a_fault() -> None:
    assert EXPECTED.faults([(0, 0.1), (1, 0.21)]) == ["1 of 2 probabilities are off, by up to 0.01"]
    assert EXPECTED.faults([(0, float("nan"))]) != []
    assert EXPECTED.faults([(0, 0.1), (0, 0.1)]) == ["1 readings were predicted more than once"]


def test_a_reading_passed_over_is_a_fault() -> None:
    assert EXPECTED.gaps([(0, 0.1), (4, 0.5)]) == ["1 readings were skipped"]


def test_ratios_name_the_fastest_on_each_side_and_leave_out_who_was_not_measured() -> None:
    ours = Result(Pace(100.0, 1.0, 1.0), 1, 0, [])
    of = {"quix": 2.0, "bytewax": 10.0, "flink": 20.0}
    outcomes = {name: replace(ours, pace=Pace(pace, 1.0, 1.0)) for name, pace in of.items()}
    found = ratios(ours, {**outcomes, "spark": "no Java"})
    assert found == {
        "worker/quix": 50.0,
        "worker/bytewax": 10.0,
        "worker/flink": 5.0,
        "worker/fastest_python_peer": 10.0,
        "worker/fastest_jvm_peer": 5.0,
    }


@pytest.mark.parametrize("name", PEERS)
def test_each_peers_release_is_pinned(name: str) -> None:
    peer = PEERS[name]
    assert version(peer.requirements, peer.package)


def test_the_peers_on_the_java_side_are_those_with_jars() -> None:
    assert {name for name, peer in PEERS.items() if peer.jars} == JVM
