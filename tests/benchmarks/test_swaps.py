"""A small run of the benchmark of swaps: the full one is in docs/model-life.md."""

import json
import subprocess
import sys

import pytest

from tests.repository import ROOT


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_swaps_under_load_lose_double_and_confuse_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.swaps", "--seconds", "8", "--swaps", "6", "--rate", "2000"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert (result["lost"], result["doubled"], result["different"]) == (0, 0, 0)
    assert result["swaps"] >= 6
    assert sum(result["scored_by"].values()) == result["readings"]
    assert min(result["scored_by"].values()) > 0
    assert result["latency_ms"]["during"]["p99"] > 0
