import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import latency_source
from benchmarks.latency import CONTENDERS, _percentiles
from tests.benchmarks.running import benchmark


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_small_run_reports_percentiles_of_each_contender_over_all_readings_of_the_time() -> None:
    result = benchmark("latency", "--rate", "200", "--rate", "400", "--seconds", "1")
    assert result["latency_ms"].keys() == set(CONTENDERS)
    for by_rate in result["latency_ms"].values():
        assert {rate: of["readings"] for rate, of in by_rate.items()} == {"200": 200, "400": 400}
        for of in by_rate.values():
            assert 0 < of["p50"] <= of["p99"] <= of["p99.9"] <= of["max"]


class SlowSource:
    """Takes 0.2 s for the first reading, as a broker that stalls might, and none for the others."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def prepared(self, numbers: np.ndarray) -> list[int]:
        return list(numbers.tolist())

    def send(self, messages: list[int]) -> None:
        if not self.sent:
            time.sleep(0.2)
        self.sent += messages

    def flush(self) -> None:
        pass


def test_a_stall_changes_neither_what_is_sent_nor_when_it_was_due() -> None:
    source = SlowSource()
    phase = latency_source.send_on_time(source, range(50, 350), rate=1000)  # type: ignore[arg-type]
    assert source.sent == list(range(50, 350))
    assert (phase["rate"], phase["first"], phase["count"]) == (1000, 50, 300)
    assert phase["late_ms"] > 150


def test_latency_counts_from_when_a_reading_was_due_and_leaves_out_the_lead() -> None:
    phase = {"rate": 10, "first": 5, "count": 40, "start_ns": 1_000_000_000, "late_ms": 0.0}
    number = np.arange(50)
    due_ns = 1_000_000_000 + (number - 5) * 100_000_000
    # The lead's readings, and those of other rates, took a second longer.
    counted = (number >= 5 + 30) & (number < 45)
    late_ns = np.where(counted, 7_000_000, 1_007_000_000)
    found = _percentiles(phase, number, due_ns + late_ns)
    assert found == {"p50": 7.0, "p99": 7.0, "p99.9": 7.0, "max": 7.0, "readings": 10, "sent_late_p99": 0.0}


@pytest.mark.slow  # runs by the clock
def test_phases_follow_each_other_without_a_gap_in_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_source, "Source", lambda *_: SlowSource())
    file = tmp_path / "phases.json"
    latency_source.main("", "", "10", "0", "7", "100:1", "200:1", str(file))
    first, second = json.loads(file.read_text())
    assert (first["first"], first["count"], second["first"], second["count"]) == (7, 100, 107, 200)
    assert second["start_ns"] > first["start_ns"] + 1e9
