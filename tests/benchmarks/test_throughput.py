import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.throughput import faults
from local.audit import Audit
from tests.benchmarks.running import benchmark
from tests.repository import ROOT

RUNS = {"pass_through", "at_least_once", "exactly_once"}


@pytest.mark.kafka
def test_a_small_run_times_each_guarantee_and_finds_every_reading_scored_exactly_once() -> None:
    result = benchmark("throughput", "--readings", "20000")
    assert result["readings"] == 20_000
    assert result["faults"] == {run: [] for run in RUNS | {"asked_for_metrics"}}
    answer = result["metrics_answer_ms"]
    assert answer["answers"] > 0
    assert 0 < answer["p50"] <= answer["p99"] <= answer["max"]
    assert all(10 < count < 200 for count in result["bytes_a_reading"].values())
    pace = result["readings_per_s"]
    assert pace.keys() == result["readings_per_cpu_s"].keys() == RUNS
    assert min(pace.values()) > 0
    share = pace["exactly_once"] / pace["pass_through"]
    assert result["ratios"]["exactly_once/pass_through"] == pytest.approx(share, abs=1e-3)


SOUND = Audit(produced=10, scored=10)


def test_a_run_that_scored_every_reading_exactly_once_has_no_faults() -> None:
    assert faults(SOUND, 10) == []


@pytest.mark.parametrize(
    ("account", "fault"),
    [
        (replace(SOUND, duplicates=1), "duplicates: 1 instead of 0"),
        (replace(SOUND, produced=9, scored=9), "scored: 9 instead of 10"),
        (replace(SOUND, scored=9, missing=1), "missing: 1 instead of 0"),
        (replace(SOUND, scored=9, dead_lettered=1), "dead_lettered: 1 instead of 0"),
        (replace(SOUND, scored=9, deduplicated=1), "deduplicated: 1 instead of 0"),
    ],
)
def test_a_run_with_other_output_says_what_is_wrong(account: Audit, fault: str) -> None:
    assert fault in faults(account, 10)


@pytest.mark.slow  # a process of its own
def test_too_few_readings_to_time_are_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.throughput", "--readings", "100"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "20000" in ended.stderr
