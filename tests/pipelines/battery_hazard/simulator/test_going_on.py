"""A run on a topic that holds readings already."""

from pathlib import Path

import pytest

from pipelines.battery_hazard.simulator.fleet import module_names
from pipelines.battery_hazard.simulator.going_on import event_length_s, late_readings
from pipelines.battery_hazard.simulator.live import SimulateOptions, simulate
from producers.newest import newest_times
from worker.config.pipeline import load_pipeline

NOW_MS = 1_790_000_000_000


@pytest.mark.parametrize(("start_ms", "length_s"), [(NOW_MS - 590_000, 600.0), (NOW_MS + 5_000, 10.0), (NOW_MS, 10.0)])
def test_a_run_does_not_pass_the_clock(start_ms: int, length_s: float) -> None:
    assert event_length_s(SimulateOptions(duration_s=10, speed=60), start_ms, NOW_MS) == length_s


def test_readings_that_are_older_by_the_lateness_are_counted() -> None:
    newest = {"recent": NOW_MS, "long ago": NOW_MS - 600_000}
    count = late_readings(newest, NOW_MS - 360_000, event_s=3600, period_ms=10_000, lateness_ms=300_000)
    assert count == 6  # the first minute of one module
    assert late_readings(newest, NOW_MS - 360_000, event_s=30, period_ms=10_000, lateness_ms=300_000) == 3
    assert late_readings(newest, NOW_MS, event_s=None, period_ms=10_000, lateness_ms=300_000) == 0


@pytest.mark.kafka
def test_a_second_run_goes_on_after_the_first(kafka: str, pipeline_file: Path) -> None:
    told: list[str] = []
    options = SimulateOptions(str(pipeline_file), modules=3, bootstrap=kafka, speed=60, duration_s=1, bad_rate=0.2)
    first = simulate(options, tell=told.append)
    assert (first.late, told) == (0, [])
    second = simulate(options, tell=told.append)
    assert second.late == 0
    assert "going on after them" in told[0]
    until_ms = second.event_ms + 300_000  # the bad readings among them are from the future, too
    newest = newest_times(load_pipeline(str(pipeline_file)), module_names(3), until_ms, bootstrap=kafka, registry=None)
    assert newest.keys() == set(module_names(3))
    assert all(first.event_ms < ts <= second.event_ms for ts in newest.values())
    again = SimulateOptions(
        str(pipeline_file), modules=3, bootstrap=kafka, duration_s=1, start_ms=first.event_ms - 10**7
    )
    assert simulate(again, tell=told.append).late == 3
    assert "will be dead letters (`late`)" in told[1]
