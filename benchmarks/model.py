"""A model package for speed measurements: as large and as slow as a real one, but its predictions mean nothing."""

from pathlib import Path

import numpy as np
import xgboost
from sklearn.preprocessing import StandardScaler

from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from pipelines.battery_hazard.simulator.plant.sensing import LOW_CELL_V
from pipelines.battery_hazard.training.fitting.write_package import TrainedModel, write_package
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.windows.feature_spec import FeatureSpec
from worker.windows.offline import offline_features

TREES, DEPTH = 200, 6
_MODULES, _STEPS = 64, 200
_ROLLED = ("avg_surface_temp_c", "voltage_v", "current_a")


def write_model(directory: Path, pipeline: Pipeline, *, seed: int = 0, scaled: bool = True) -> None:
    """Write a package with the battery model's 30 features and 200 trees of depth 6.

    Scoring time depends on the number and depth of the trees and on how readings spread over their branches, not on the
    values of the leaves. So the features are those of a simulated fleet. The labels are noise, so every tree grows to
    its full depth. They are so low that a healthy fleet raises no alarm.

    Args:
        directory: gets the package.
        pipeline: names the topology.
        seed: of the noise; another seed gives another model.
        scaled: whether the package has a scaler.
    """
    spec = FeatureSpec(
        sensors=SENSORS[:LOW_CELL_V],
        differences=("avg_surface_temp_c", "voltage_v", "soc_percent"),
        rolling=_ROLLED,
        windows=(6, 30, 60),
        max_span_ms=900_000,
        per={"voltage_v": "cells_in_series", "current_a": "capacity_ah"},
    )
    steps = list(Fleet(_MODULES, seed=1, start_ms=1_780_000_000_000).steps(_STEPS))
    features, _ = offline_features(
        spec,
        np.tile(np.arange(_MODULES), _STEPS),
        np.concatenate([step.ts for step in steps]),
        np.concatenate([step.values[:, :LOW_CELL_V] for step in steps]),
        np.tile(spec.scales(dict(pipeline.topology.default)), (_MODULES, 1)),
    )
    scaler = StandardScaler().fit(features) if scaled else None
    noise = np.random.default_rng(seed).uniform(0, 0.2, len(features))
    matrix = xgboost.DMatrix(scaler.transform(features) if scaler else features, noise, missing=np.nan)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1}, matrix, TREES)

    policy = AlarmPolicy(
        setpoint=0.5, deadband=0.1, on_delay_ms=20_000, off_delay_ms=60_000, priorities={"HIGH": 0.5, "CRITICAL": 0.9}
    )
    metrics = {part: dict[str, float]() for part in ("training", "validation", "test", "thresholds")}
    model = TrainedModel("benchmark", spec, scaler, booster, policy, metrics, card="For measuring speed alone.\n")
    write_package(directory, model, normal=features, unseen=features)
