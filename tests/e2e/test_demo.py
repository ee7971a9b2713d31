"""The demo as a newcomer runs it, on real Kafka and without it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository import ROOT


def demo(*options: str, **environment: str) -> dict[str, Any]:
    without_broker = {k: v for k, v in os.environ.items() if k != "KAFKA_BOOTSTRAP_SERVERS"}
    done = subprocess.run(
        [sys.executable, "-m", "hazardstream", "demo", "--json", *options],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=ROOT,
        env=without_broker | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def assert_accounted(told: dict[str, Any]) -> None:
    assert told["produced"] == told["scored"] + told["dead_lettered"] + told["deduplicated"]
    assert told["duplicates"] == told["missing"] == 0
    assert told["alarms"] >= 1
    assert told["modules"] == 64
    assert told["dead_lettered"] >= 1
    assert 0 < told["latency_ms_p50"] <= told["latency_ms_p99"]


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_the_demo_accounts_for_every_record() -> None:
    told = demo("--seconds", "20")
    assert_accounted(told)
    assert told["broker"] == "Apache Kafka, local"


@pytest.mark.slow  # runs the demo
@pytest.mark.timeout(300)
def test_the_demo_without_kafkas_jars_says_what_it_cannot_show(tmp_path: Path) -> None:
    told = demo("--seconds", "15", XDG_CACHE_HOME=str(tmp_path), HAZARDSTREAM_MAVEN_REPOSITORY="http://127.0.0.1:1")
    assert_accounted(told)
    assert told["broker"] == "mock cluster (not Kafka)"
