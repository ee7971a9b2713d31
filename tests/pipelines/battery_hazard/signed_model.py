"""A small model whose features all have signs, and readings on their whole way through the worker's stages to it."""

from pathlib import Path

import numpy as np
import xgboost

from common.arrays import Float
from pipelines.battery_hazard.simulator.fleet import SENSORS
from pipelines.battery_hazard.training.datasets.features import TOPOLOGY
from pipelines.battery_hazard.training.fitting.write_package import TrainedModel, write_package
from schemas.text_column import TextColumn
from tests.flagship import PIPELINE
from worker.alarms.state_machine import AlarmPolicy
from worker.model.package import ModelPackage
from worker.model.scaler import Scaler
from worker.score.batch import columns_only
from worker.score.columns import GivenReadings
from worker.score.readings import Readings
from worker.score.scorer import Scorer
from worker.windows.derived import Gated, Greatest, Least, Limited, WeightedSum
from worker.windows.feature_spec import FeatureSpec
from worker.windows.offline import offline_features
from worker.windows.partition import Partition
from worker.windows.span_statistics import SpanKind
from worker.windows.time_spans import Span

TEMPERATURES = ("avg_surface_temp_c", "max_surface_temp_c", "max_cell_temp_c", "min_cell_temp_c")
HOTTEST = TEMPERATURES[:3]
START_MS = 1_780_000_000_000
_SPANS = tuple(
    Span(sensor=name, kind=SpanKind.RATE, over_ms=over_ms) for name in HOTTEST for over_ms in (10_000, 60_000)
)
_SPEC = FeatureSpec(
    sensors=SENSORS,
    differences=(),
    rolling=(),
    windows=(),
    max_span_ms=900_000,
    per={"voltage_v": "cells_in_series", "current_a": "capacity_ah"},
    spans=_SPANS,
    derived=(
        Greatest(name="hottest", of=HOTTEST),
        Greatest(name="rise", of=tuple(f"{name}_rate_10s" for name in HOTTEST)),
        *(
            WeightedSum(name=f"{name}_faster", weights={f"{name}_rate_10s": 1, f"{name}_rate_1min": -1})
            for name in HOTTEST
        ),
        Greatest(name="faster", of=tuple(f"{name}_faster" for name in HOTTEST)),
        Limited(name="limited_rise", feature="rise", low=0, high=3),
        Gated(name="rise_when_hot", feature="limited_rise", where="hottest", at_least=60),
        WeightedSum(name="projected", weights={"hottest": 1, "rise_when_hot": 35}),
        Least(name="lowest_cell_v", of=("min_cell_voltage_v", "voltage_v")),
        *(WeightedSum(name=f"{name}_high", weights={name: 1}) for name in ("voltage_v", "current_a", "soc_percent")),
    ),
    holds=60,
)
_FALLING = {"ambient_temp_c", "voltage_v", "current_a", "soc_percent", "min_cell_voltage_v", "lowest_cell_v"}
SIGNED = _SPEC.model_copy(update={"monotone": {name: -1 if name in _FALLING else 1 for name in _SPEC.names}})
_STAND_INS = [
    SIGNED.names.index(name)
    for name in (*TEMPERATURES, *(span.name for span in _SPANS), *(f"{name}_faster" for name in HOTTEST))
]
"""Of each sensor alone. The model sees their greatest only, so that sensors stand in for each other."""


def write_signed_package(directory: Path) -> None:
    """A package that is trained on random walks in a moment; what it finds is plausible, and no more."""
    noise = np.random.default_rng(5)
    keys, steps = 60, 40
    values = wandering(noise, keys, steps)
    values[noise.random(values.shape) < 0.1] = np.nan
    ts = START_MS + 10_000 * np.arange(steps)
    scales = np.tile(SIGNED.scales(TOPOLOGY), (keys, 1))
    features, rows = offline_features(
        SIGNED, np.tile(np.arange(keys), steps), np.repeat(ts, keys), values.transpose(1, 0, 2).reshape(-1, 13), scales
    )
    assert len(rows) == keys * steps
    scaler = Scaler(missing=tuple(-1e6 * SIGNED.monotone[name] for name in SIGNED.names))
    seen = scaler.scale(len(SIGNED.names))(features)
    projected, cell_v = (features[:, SIGNED.names.index(name)] for name in ("projected", "lowest_cell_v"))
    risk = np.nan_to_num(projected, nan=20) - 50 * (np.nan_to_num(cell_v, nan=3.6) - 3.6)
    seen[:, _STAND_INS] = 0.0  # constant in training, so no tree splits on them
    label = risk + noise.normal(0, 15, len(risk)) > 50
    parameters = {
        "objective": "binary:logistic",
        "nthread": 1,
        "max_depth": 4,
        "monotone_constraints": tuple(SIGNED.monotone[name] for name in SIGNED.names),
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(seen, label), 30)
    policy = AlarmPolicy(setpoint=0.5, deadband=0.1, on_delay_ms=0, off_delay_ms=0, priorities={"HIGH": 0.5})
    metrics = {part: dict[str, float]() for part in ("training", "validation", "test", "thresholds")}
    model = TrainedModel("signed", SIGNED, scaler, booster, policy, metrics, card="For tests.\n")
    write_package(directory, model, normal=features, unseen=features)


def wandering(noise: np.random.Generator, keys: int, steps: int) -> Float:
    """Values of all sensors, [keys, steps, sensors], some of which heat up."""
    walk = noise.normal(0, 1, (keys, steps, len(SENSORS))).cumsum(axis=1)
    heat = noise.choice([0, 0, 0.5, 2], (keys, 1)) * np.maximum(np.arange(steps) - steps / 2, 0)
    start = {"voltage_v": 51.0, "soc_percent": 50.0, "min_cell_voltage_v": 3.6, "max_cell_voltage_v": 3.7}
    scale = {"min_cell_voltage_v": 0.01, "max_cell_voltage_v": 0.01, "voltage_v": 0.1}
    for at, name in enumerate(SENSORS):
        walk[..., at] = start.get(name, 25.0) + scale.get(name, 1.0) * walk[..., at]
        if name in TEMPERATURES:
            walk[..., at] += heat
    low, high = (np.array([getattr(PIPELINE.input.rules(name), end) for name in SENSORS]) for end in ("low", "high"))
    found: Float = np.round(np.clip(walk, low, high), 3)
    return found


def last_probability(package: ModelPackage, values: Float, period_ms: int) -> Float:
    """Probability of each key's last reading, [keys], after all stages of a worker.

    Args:
        package: the model.
        values: of each reading, NaN where missing, [keys, steps, sensors].
        period_ms: between two readings.
    """
    keys, steps, _ = values.shape
    columns = np.full((steps * keys, len(PIPELINE.input.sensors())), np.nan)
    columns[:, [PIPELINE.input.sensors().index(name) for name in SENSORS]] = values.transpose(1, 0, 2).reshape(
        steps * keys, -1
    )
    names, ts = [f"m{key}".encode() for key in range(keys)] * steps, START_MS + period_ms * np.arange(steps)
    ts, rows = np.repeat(ts, keys), np.arange(steps * keys)
    decode, text = GivenReadings(), TextColumn.of(names)
    decode.readings = Readings(rows, text, TextColumn.of([b"r"] * len(rows)), ts, columns, ~np.isnan(columns))
    scorer = Scorer(decode, PIPELINE, package, None)
    outcome = scorer.process(columns_only(names, np.zeros(len(rows), np.int64), rows, ts), {0: Partition(0, 0, 0)})
    last = outcome.scored.readings.row >= (steps - 1) * keys
    found = np.full(keys, np.nan)
    found[outcome.scored.readings.row[last] - (steps - 1) * keys] = outcome.scored.probability[last]
    return found
