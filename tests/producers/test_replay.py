import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from common.errors import UserError
from producers.recordings.mapping import Mapping, parse_columns, parse_topology
from producers.replay import ReplayOptions, replay
from producers.replay_pace import Pace
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, flagship_schema
from worker.config.pipeline import load_pipeline

pytestmark = pytest.mark.kafka

Series = dict[str, list[tuple[int, float, float, float]]]
Drain = Callable[[str], list[list[tuple[str, bytes]]]]
COLUMNS = "ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C"
TOPOLOGY = "cells_in_series=1,capacity_ah=2.6"
START_MS = 1_750_000_000_000
CELL = Mapping(parse_columns(COLUMNS), ("test", "run"), topology=parse_topology(TOPOLOGY), start_ms=START_MS)
SCHEMA = flagship_schema("SensorReading")


@pytest.fixture
def options(kafka: str, pipeline_file: Path, tmp_path: Path, recordings: Path) -> ReplayOptions:
    return ReplayOptions(
        [recordings / "R1.csv"], str(pipeline_file), CELL, Pace(None), state=tmp_path / "state.json", bootstrap=kafka
    )


@pytest.fixture
def published(drain: Drain, pipeline_file: Path) -> Callable[[], Series]:
    """What is on the topic: for each key its (seconds, volts, amperes, degrees) in the units of the cell."""

    def read() -> Series:
        by_key = defaultdict(list)
        for partition in drain(load_pipeline(str(pipeline_file)).input.topic):
            for key, value in partition:
                record = decode(value, writer_schema_lookup(None, KNOWN_SCHEMAS), SCHEMA)
                assert (record["module_id"], record["rack_id"]) == (key, "R1")
                assert record["offgas_co_ppm"] is None
                volts, amperes = round(record["voltage_v"] / 14, 9), round(-record["current_a"] * 2.6 / 100, 9)
                by_key[key].append((record["ts"] - START_MS, volts, amperes, record["avg_surface_temp_c"]))
        return dict(by_key)

    return read


@pytest.fixture
def recorded(recordings: Path) -> Series:
    frame = pd.read_csv(recordings / "R1.csv")
    frame["ms"] = (frame["t_s"] * 1000).round().astype(int)
    return {
        f"{test}/{run}": list(rows[["ms", "V_V", "I_A", "T_C"]].itertuples(index=False, name=None))
        for (test, run), rows in frame.groupby(["test", "run"])
    }


def test_a_recording_arrives_whole_exact_and_in_order(
    options: ReplayOptions, published: Callable[[], Series], recorded: Series
) -> None:
    summary = replay(options)
    assert published() == recorded
    assert summary.completed
    assert summary.produced == summary.readings == sum(map(len, recorded.values()))
    assert summary.keys == len(recorded)


def test_an_interrupted_replay_goes_on_where_it_was(
    options: ReplayOptions, published: Callable[[], Series], recorded: Series
) -> None:
    stop = threading.Event()
    first = replay(options, lambda done, total: stop.set() if done > total / 3 else None, stop)
    assert not first.completed
    assert 0 < first.produced < first.readings
    second = replay(replace(options, resume=True))
    assert second.resumed_at == first.produced
    assert second.produced == first.readings - first.produced
    assert published() == recorded
    third = replay(replace(options, resume=True))
    assert third.completed
    assert third.produced == 0


def test_a_killed_replay_loses_nothing_and_keeps_its_times(
    options: ReplayOptions, published: Callable[[], Series], recorded: Series
) -> None:
    assert options.state is not None
    command = [sys.executable, "-m", "hazardstream", "replay", str(options.paths[0]), "--pipeline", options.pipeline]
    command += [
        "--columns",
        COLUMNS,
        "--key-columns",
        "test,run",
        "--topology",
        TOPOLOGY,
        "--state",
        str(options.state),
    ]
    command += ["--start", "2025-06-15T15:06:40Z", "--bootstrap", str(options.bootstrap), "--json"]
    with subprocess.Popen([*command, "--rate", "3000"], env={**os.environ}) as process:
        while not (options.state.is_file() and json.loads(options.state.read_text())["delivered"]):
            assert process.poll() is None
        process.kill()
    done = subprocess.run(
        [*command, "--as-fast-as-possible", "--resume"], stdout=subprocess.PIPE, check=True, timeout=100
    )
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["completed"]
    assert 0 < summary["resumed_at"] < summary["readings"]
    # At the seam readings may come twice; the worker drops a reading that is not newer than the last.
    once = {key: list(dict.fromkeys(rows)) for key, rows in published().items()}
    assert once == recorded


def test_bad_rows_stop_it_before_anything_is_published(
    options: ReplayOptions, published: Callable[[], Series], tmp_path: Path
) -> None:
    lines = options.paths[0].read_text().splitlines()
    lines[4999] = lines[4999].replace(",", ",x", 2)
    path = tmp_path / "R1.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"line 5000, column t_s: 'x"):
        replay(replace(options, paths=[path]))
    assert published() == {}
    summary = replay(replace(options, paths=[path], skip_bad=True))
    assert summary.completed
    assert summary.skipped == 1
    assert summary.skipped_rows[0].startswith("line 5000, column t_s: 'x")
    assert sum(map(len, published().values())) == summary.produced == len(lines) - 2


def test_the_state_of_another_replay_is_refused(options: ReplayOptions, recordings: Path) -> None:
    replay(options)
    with pytest.raises(UserError, match="belongs to a replay of another file"):
        replay(replace(options, paths=[recordings / "R2.csv"], resume=True))


def test_a_broken_state_is_refused(options: ReplayOptions) -> None:
    assert options.state is not None
    options.state.write_text("{}")
    with pytest.raises(UserError, match="is not the state of a replay; delete it"):
        replay(replace(options, resume=True))


def test_a_rate_is_kept(options: ReplayOptions, tmp_path: Path) -> None:
    path = tmp_path / "R1.csv"
    path.write_text("\n".join(options.paths[0].read_text().splitlines()[:501]))
    summary = replay(replace(options, paths=[path], pace=Pace(None, 250)))
    assert summary.produced == 500
    assert summary.seconds >= 499 / 250


def test_the_recordings_own_pace_is_kept_times_a_factor(options: ReplayOptions, tmp_path: Path) -> None:
    path = tmp_path / "R1.csv"
    path.write_text("\n".join(options.paths[0].read_text().splitlines()[:101]))
    summary = replay(replace(options, paths=[path], pace=Pace(500)))
    assert summary.produced == 100
    assert summary.seconds >= 990 / 500


def test_readings_are_not_published_before_their_time(options: ReplayOptions) -> None:
    ahead = replace(options.mapping, start_ms=2**42 - 2**40)
    with pytest.raises(UserError, match=r"before their event time, which workers reject; give an earlier --start"):
        replay(replace(options, mapping=ahead))
