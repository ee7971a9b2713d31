"""A model may use some of a record's numbers, in any order: they are found by name, and the others change nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from confluent_kafka import Message

from common.arrays import Float
from schemas.registry import writer_schema_lookup
from schemas.text_column import TextColumn
from tests import digest_input
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.harness import NORMAL, START_MS, avro, reading
from worker.consume.message_columns import batch_of
from worker.model.package import ModelPackage
from worker.score.outcome import Outcome
from worker.score.readings import Origin, Readings
from worker.score.scorer import scorer_of
from worker.score.windows import KeyedWindows
from worker.windows.feature_spec import FeatureSpec
from worker.windows.offline import offline_features
from worker.windows.partition import Partition

SENSORS = PIPELINE.input.sensors()
CELLS = {"min_cell_voltage_v": 3.6, "max_cell_temp_c": 31.5, "max_cell_temp_index": 7}


def score(package: ModelPackage, values: list[bytes]) -> Outcome:
    """The outcome of messages of one module, in one batch."""
    scorer = scorer_of(PIPELINE, package, package.policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    scorer.alarms.assign(0, {})
    messages = [
        Message(topic="t", partition=0, offset=at, key=b"m", value=value, timestamp=(1, START_MS + 3_600_000))
        for at, value in enumerate(values)
    ]
    return scorer.process(batch_of(messages), {0: Partition(0, 0, 0)})


def heating(step: int) -> dict[str, Any]:
    """A reading of a module that heats up; each third lacks a sensor."""
    hot = {"avg_surface_temp_c": 26 + step / 2, "max_surface_temp_c": None if step % 3 == 0 else 28 + step}
    return reading("m", START_MS + 10_000 * step, **hot)


def test_what_other_devices_say_more_changes_no_bit_of_a_model_that_does_not_use_it(package: ModelPackage) -> None:
    assert set(package.spec.sensors).isdisjoint(CELLS)
    older = [digest_input.avro(heating(step)) for step in range(80)]
    mixed = [avro(heating(step) | CELLS) if step % 2 else older[step] for step in range(80)]

    expected, found = score(package, older), score(package, mixed)

    assert found.scored.probability.tobytes() == expected.scored.probability.tobytes()
    assert found.scored.features.numbers.tobytes() == expected.scored.features.numbers.tobytes()
    assert [t.state for t in found.alarms.transitions] == [t.state for t in expected.alarms.transitions]
    np.testing.assert_array_equal(found.scored.imputed, expected.scored.imputed)
    assert expected.scored.imputed[3].tolist() == [name == "max_surface_temp_c" for name in SENSORS]


def test_a_reading_that_differs_in_a_number_without_use_is_no_duplicate(package: ModelPackage) -> None:
    one, other = reading("m", START_MS, **CELLS), reading("m", START_MS, **CELLS | {"max_cell_temp_index": 8})

    outcome = score(package, [avro(one), avro(other), avro(one)])

    assert (len(outcome.scored.probability), outcome.deduplicated) == (2, 1)


def readings(values: Mapping[str, list[float]]) -> Readings:
    count = len(next(iter(values.values())))
    columns = np.full((count, len(SENSORS)), np.nan)
    for name, column in values.items():
        columns[:, SENSORS.index(name)] = column
    texts, ts = TextColumn.of([b"m"] * count), START_MS + 10_000 * np.arange(count)
    return Readings(np.arange(count), texts, texts, ts, columns, ~np.isnan(columns))


def windowed(spec: FeatureSpec, given: Readings) -> tuple[Float, list[list[str]]]:
    """Features, and the names of the sensors that were filled."""
    windows, nothing = KeyedWindows(spec, SENSORS, PIPELINE.topology, 300_000), np.zeros(len(given.row), np.int64)
    origin = Origin([b"m"] * len(given.row), nothing, given.row, given.ts)
    found = windows.stage(given, origin, given.ts, {0: Partition(0, 0, 0)}).windowed(np.ones(len(given.row), np.bool_))
    return found.features, [[SENSORS[at] for at in np.flatnonzero(row)] for row in found.imputed]


def test_features_are_of_the_sensors_that_the_model_names_in_its_own_order() -> None:
    spec = FeatureSpec(
        sensors=("max_cell_temp_c", "voltage_v", "ambient_temp_c"),
        differences=("max_cell_temp_c",),
        rolling=("voltage_v",),
        windows=(3,),
        max_span_ms=900_000,
        per={"voltage_v": "cells_in_series"},
    )
    heat, volts, air = [30.0, 31.0, float("nan"), 35.0], [50.4, 51.8, 50.4, 49.0], [20.0, float("nan"), 21.0, 21.0]
    given = readings({**{name: [value] * 4 for name, value in NORMAL.items()}, "max_cell_temp_c": heat})
    given.values[:, [SENSORS.index("voltage_v"), SENSORS.index("ambient_temp_c")]] = np.column_stack([volts, air])

    features, imputed = windowed(spec, given)

    scales = spec.scales(dict(PIPELINE.topology.default))[None]
    expected, _ = offline_features(spec, np.zeros(4, np.int64), given.ts, np.column_stack([heat, volts, air]), scales)
    assert features.tobytes() == expected.tobytes()
    assert imputed == [[], ["ambient_temp_c"], ["max_cell_temp_c"], []]
