import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS
from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from pipelines.battery_hazard.simulator.live import SimulateOptions, SimulationSummary, first_event_ms, simulate
from pipelines.battery_hazard.simulator.messages import KINDS, PUBLISHED, Messages
from producers.kafka_publisher import encoder
from schemas.codec import decode
from schemas.errors import MalformedError
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema
from worker.config.pipeline import load_pipeline

Drain = Callable[[str], list[list[tuple[str, bytes | None]]]]
START_MS = 1_750_000_000_000
NOW_MS = START_MS + 3_600_000
SCHEMA = flagship_schema("SensorReading")


def read(value: bytes) -> dict[str, Any]:
    return decode(value, writer_schema_lookup(None, KNOWN_SCHEMAS), SCHEMA)


def messages(bad_rate: float, steps: int = 5, modules: int = 64) -> list[tuple[str | None, bytes | None, str]]:
    fleet = Fleet(modules, 5, start_ms=START_MS)
    made = Messages(fleet, encoder(PIPELINE, None, PUBLISHED), bad_rate, 300_000)
    return [message for step in fleet.steps(steps) for message in made.of(step, NOW_MS)]


@pytest.mark.slow  # simulates a fleet twice
def test_values_are_the_fleets_readings_to_the_bit() -> None:
    fleet = Fleet(64, 5, start_ms=START_MS)
    step = next(fleet.steps(1))
    for i, (key, value, kind) in enumerate(messages(0, steps=1)):
        assert value is not None
        record = read(value)
        assert (key, kind) == (fleet.module_ids[i], "reading")
        assert (record["module_id"], record["rack_id"], record["ts"]) == (key, fleet.rack_ids[i], int(step.ts[i]))
        got = np.array([np.nan if record[s] is None else record[s] for s in SENSORS])
        np.testing.assert_array_equal(got, step.values[i])


def test_the_shorted_cell_is_named_as_the_lowest() -> None:
    fleet = Fleet(8, 5, faults=1, start_ms=START_MS, span_ms=600_000, mechanisms=("hard_short",))
    made = Messages(fleet, encoder(PIPELINE, None, PUBLISHED), 0, 300_000)
    fault, shorted = fleet.faults[0], fleet.events[0].group
    readings = [read(m[1]) for step in fleet.steps(60) for m in made.of(step, NOW_MS) if m[1] is not None]
    of = [r for r in readings if r["module_id"] == fleet.module_ids[fault.module]]
    named = {r["min_cell_voltage_index"] for r in of if r["ts"] > fault.onset_ts + 10_000}
    assert named - {None} == {shorted}
    for number in ("min_cell_voltage", "max_cell_voltage", "min_cell_temp", "max_cell_temp"):
        unit = "_c" if number.endswith("temp") else "_v"
        assert all((r[f"{number}_index"] is None) == (r[number + unit] is None) for r in readings)


def test_a_module_whose_sensors_all_died_is_silent() -> None:
    fleet = Fleet(8, 5, faults=8, start_ms=START_MS, span_ms=600_000, mechanisms=("hard_short",))
    made = Messages(fleet, encoder(PIPELINE, None, PUBLISHED), 0, 300_000)
    last = list(fleet.steps(240))[-1]
    silent = np.isnan(last.values).all(axis=1)
    assert silent.any()
    heard = {key for key, _, _ in made.of(last, NOW_MS)}
    assert heard == {name for name, dead in zip(fleet.module_ids, np.atleast_1d(silent), strict=True) if not dead}


def test_bad_records_are_the_same_each_time_and_of_every_kind() -> None:
    first = messages(0.5)
    assert first == messages(0.5)
    assert set(KINDS) < {kind for _, _, kind in first}


def test_every_module_still_has_one_reading_a_step_beside_the_bad_records() -> None:
    scored = Counter(k for k, _, kind in messages(1.0) if kind in ("reading", "not_finite", "out_of_range"))
    assert set(scored.values()) == {5}
    assert len(scored) == 64


def test_each_kind_is_bad_in_its_own_way() -> None:
    good: bytes = b""
    for key, value, kind in messages(1.0):
        match kind:
            case "reading":
                assert value is not None
                good = value
            case "random_bytes" | "truncated":
                assert value is not None
                with pytest.raises(MalformedError):
                    read(value)
            case "null_value":
                assert value is None
            case "wrong_key":
                assert value is not None
                assert read(value)["module_id"] != key
            case "duplicate":
                assert value == good
            case "future":
                assert value is not None
                assert read(value)["ts"] > NOW_MS + 300_000
            case "late":
                assert value is not None
                assert read(value)["ts"] < read(good)["ts"] - 3_600_000
            case "not_finite" | "out_of_range":
                assert value is not None
                measured = [v for v in read(value).values() if isinstance(v, float)]
                impossible = [v for v in measured if not np.isfinite(v) or abs(v) >= 1e9]
                assert len(impossible) == 1
                assert len(measured) > 1


def test_a_fast_run_begins_in_the_past_so_that_it_ends_now() -> None:
    assert first_event_ms(SimulateOptions(speed=60, duration_s=40), NOW_MS) == NOW_MS - 59 * 40_000
    assert first_event_ms(SimulateOptions(speed=0.5, duration_s=40), NOW_MS) == NOW_MS
    assert first_event_ms(SimulateOptions(start_ms=7), NOW_MS) == 7


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (SimulateOptions(speed=2), "would overtake the clock; give --duration, or --start"),
        (SimulateOptions(modules=0), "--modules"),
        (SimulateOptions(modules=2, faults=3), "--faults"),
        (SimulateOptions(speed=0), "--speed"),
        (SimulateOptions(bad_rate=2), "--bad-rate"),
        (SimulateOptions(seed=-1), "--seed"),
        (SimulateOptions(mechanisms=("witchcraft",)), "--mechanism"),
        (SimulateOptions(nuisances=-1), "--nuisances"),
        (SimulateOptions(start_ms=1_780_000_000), "--start"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: SimulateOptions, says: str) -> None:
    with pytest.raises(UserError, match=says):
        simulate(options)


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_reported(kafka: str, pipeline_file: Path) -> None:
    path = pipeline_file.with_name("other.yaml")
    path.write_text(pipeline_file.read_text().replace("readings-", "absent-"))
    with pytest.raises(UserError, match=r"no topic absent-\w+ on .*topics create"):
        simulate(SimulateOptions(pipeline=str(path), bootstrap=kafka, duration_s=1))


@pytest.mark.kafka
def test_what_the_summary_counts_is_on_the_topic(kafka: str, pipeline_file: Path, drain: Drain) -> None:
    seen: list[int] = []

    def note(summary: SimulationSummary) -> None:
        assert summary.event_ms <= time.time() * 1000
        seen.append(summary.produced)

    options = SimulateOptions(
        pipeline=str(pipeline_file), modules=32, faults=2, speed=300, duration_s=3, bad_rate=0.4, bootstrap=kafka
    )
    summary = simulate(options, note)
    partitions = drain(load_pipeline(str(pipeline_file)).input.topic)
    assert summary.produced == sum(map(len, partitions))
    assert summary.produced == summary.readings + summary.duplicates + sum(summary.bad.values())
    assert summary.failed == 0
    assert all(count > 0 for count in (*summary.bad.values(), *summary.masked.values(), summary.duplicates))
    # 90 steps of 32 modules, less those that burnt down.
    assert 85 * 30 < summary.readings <= 90 * 32
    assert summary.faults == len(summary.fault_truth) >= 2
    assert {fault["mechanism"] for fault in summary.fault_truth} <= set(MECHANISMS)
    assert seen == sorted(seen)
    values = Counter(value for partition in partitions for _, value in partition)
    assert sum(1 for value in values if value is None) == 1
    assert values[None] == summary.bad["null_value"]


@pytest.mark.kafka
def test_readings_of_a_module_are_in_order(kafka: str, pipeline_file: Path, drain: Drain) -> None:
    options = SimulateOptions(pipeline=str(pipeline_file), modules=16, speed=500, duration_s=2, bootstrap=kafka)
    simulate(options)
    for partition in drain(load_pipeline(str(pipeline_file)).input.topic):
        last: dict[str, int] = {}
        for key, value in partition:
            assert value is not None
            ts = read(value)["ts"]
            assert abs(ts - last.get(key, ts - 10_000) - 10_000) <= 200  # clocks are not exact
            last[key] = ts


@pytest.mark.kafka
def test_stopping_delivers_what_was_handed_over(kafka: str, pipeline_file: Path) -> None:
    stop = threading.Event()
    options = SimulateOptions(pipeline=str(pipeline_file), modules=8, period_ms=100, bootstrap=kafka)
    summary = simulate(options, lambda counts: stop.set() if counts.event_ms else None, stop)
    assert summary.produced == summary.readings == 8


@pytest.mark.parametrize(
    ("topology", "faults", "said"),
    [
        ({"chemistry": "lead"}, 0, "unknown chemistry=lead; use nmc, lfp, lto"),
        ({"cells": 4.0}, 0, "unknown cells; use cells_in_series, capacity_ah, chemistry"),
        ({"cells_in_series": 2.5}, 0, "cells_in_series=2.5 is not a number of cells_in_series"),
        ({"chemistry": "lfp"}, 1, "chemistry=lfp has no simulated faults; leave out --faults"),
    ],
)
def test_a_topology_that_cannot_be_simulated_is_refused(
    topology: dict[str, float | str], faults: int, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        simulate(SimulateOptions(topology=topology, faults=faults))


@pytest.mark.kafka
def test_modules_are_built_as_the_topology_says(kafka: str, pipeline_file: Path, drain: Drain) -> None:
    built: dict[str, float | str] = {"chemistry": "lfp", "cells_in_series": 16.0, "capacity_ah": 280.0}
    options = SimulateOptions(
        pipeline=str(pipeline_file), modules=8, duration_s=1, speed=60, topology=built, bootstrap=kafka
    )
    simulate(options)
    values = [value for partition in drain(load_pipeline(str(pipeline_file)).input.topic) for _, value in partition]
    volts = [volt for value in values if value is not None and (volt := read(value)["voltage_v"]) is not None]
    assert volts
    assert all(2.0 < volt / 16 < 3.75 for volt in volts)


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_endless_run_with_its_summary(
    kafka: str,
    pipeline_file: Path,
    drain: Drain,
    number: signal.Signals,
) -> None:
    arguments = ["simulate", "--pipeline", str(pipeline_file), "--modules", "8", "--period-s", "0.1", "--json"]
    topic = load_pipeline(str(pipeline_file)).input.topic
    with subprocess.Popen(
        [sys.executable, "-m", "hazardstream", *arguments, "--bootstrap", kafka],
        stdout=subprocess.PIPE,
        env={**os.environ},
    ) as process:
        while not any(drain(topic)):
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    summary = json.loads(out.splitlines()[-1])
    assert process.returncode == 0
    assert summary["produced"] == sum(map(len, drain(topic))) > 0
    assert summary["failed"] == 0


@pytest.mark.kafka
def test_a_pace_that_cannot_be_kept_ends_in_time_and_is_reported(
    kafka: str, pipeline_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SimulateOptions(pipeline=str(pipeline_file), modules=500, speed=1e6, duration_s=1, bootstrap=kafka)
    summary = simulate(options)
    assert 500 <= summary.produced < 100_000 * 500
    assert "pace_not_kept" in "".join(capsys.readouterr())
