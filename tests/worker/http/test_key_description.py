"""What `/keys/{key}` tells, for any key, after a restart, and with little memory."""

from typing import Any

import pytest

from common.times import iso_utc
from tests.flagship import PIPELINE
from tests.harness import START_MS, reading
from worker.config.pipeline import Pipeline
from worker.config.topology import Topology
from worker.http.key_description import description_of
from worker.in_memory import InMemory
from worker.model.package import ModelPackage
from worker.windows.partition import Partition


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    default = PIPELINE.topology.default
    groups = {"Rack1": {"cells_in_series": 7}}
    topology = PIPELINE.topology.model_copy(update={"groups": groups, "keys": {"k": {"cells_in_series": 1}}})
    assert isinstance(topology, Topology)
    assert default["cells_in_series"] == 14
    return PIPELINE.model_copy(update={"topology": topology})


def at(n: int, module: str, rack: str = "Rack1", **sensors: float | None) -> dict[str, Any]:
    return reading(module, START_MS + n * 10_000, **sensors) | {"rack_id": rack}


def described(memory: InMemory, key: str) -> dict[str, Any]:
    found = description_of(key, memory._scorer, {0: memory._partition})
    assert found is not None
    return found


def test_values_have_their_own_units_and_times_can_be_read(pipeline: Pipeline, package: ModelPackage) -> None:
    memory = InMemory(pipeline, package)
    rows = [at(n, key, rack) for n in range(3) for key, rack in [("a", "Rack1"), ("b", "Rack2"), ("k", "Rack1")]]
    made = memory.process([*rows, at(3, "a", voltage_v=50.9, soc_percent=None)])

    for key, cells in (("a", 7), ("b", 14), ("k", 1)):
        found = described(memory, key)
        assert found["window"]["voltage_v"][:3] == [51.0] * 3
        assert found["scale"]["voltage_v"] == cells if cells > 1 else "voltage_v" not in found["scale"]
        if cells > 1:
            assert found["window_scaled"]["voltage_v"][:3] == [51.0 / cells] * 3
    found = described(memory, "a")
    last = found["last_scored"]
    assert found["window"]["ts"][-1] == last["ts"] == iso_utc(START_MS + 30_000, "milliseconds")
    assert last["sensors"].keys() == set(pipeline.input.sensors())
    assert (last["sensors"]["voltage_v"], last["sensors"]["soc_percent"]) == (50.9, None)
    assert last["prediction"] == made.predictions[-1]["hazard_probability"]
    assert last["positive"] is made.predictions[-1]["hazardous"]
    assert found["rules"].keys() == {rule.name for rule in memory._scorer.alarms.rules}
    assert description_of("nobody", memory._scorer, {0: memory._partition}) is None


def test_after_a_restart_the_window_is_there_before_anything_is_scored(
    pipeline: Pipeline, package: ModelPackage
) -> None:
    restarted = InMemory(pipeline, package)
    restarted._partition = Partition(0, 0, live_from=3)
    restarted.process(at(n, "a") for n in range(3))

    found = described(restarted, "a")

    assert found["last_scored"] is None
    assert found["window"]["voltage_v"] == [51.0] * 3


def test_a_slot_that_is_used_again_shows_nothing_of_the_key_before(pipeline: Pipeline, package: ModelPackage) -> None:
    memory = InMemory(pipeline, package)
    for generation in range(3):  # each time all keys of the time before are forgotten
        memory.process(at(generation * 200 + n // 100, f"g{generation}-{n}") for n in range(100))
    assert len(memory._scorer.windows.last._columns["ts"]) <= 512  # type: ignore[union-attr]  # it has windows

    memory._partition.live_from = 1000
    memory.process([at(405, "next")])

    assert described(memory, "next")["last_scored"] is None
    assert described(memory, "g2-99")["last_scored"]["sensors"]["voltage_v"] == 51.0
