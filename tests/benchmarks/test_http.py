"""The benchmark of scoring over HTTP, in small."""

import json
import subprocess
import sys

import pytest

from tests.repository import ROOT


@pytest.mark.slow  # starts a server of its own
def test_it_measures_and_no_hostile_request_gets_a_500() -> None:
    given = ["--rate", "5", "--seconds", "1", "--hostile", "100", "--json"]
    command = [sys.executable, "-m", "benchmarks.http", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 0 < figures["single_p50"] <= figures["single_p99"]
    assert 0 < figures["batch_p50"] <= figures["batch_p99"]
    assert sum(figures["hostile"].values()) == 100
    assert figures["errors_500"] == 0
