"""A model package of realistic size for speed measurements: it weighs what a real one does, and predicts nothing."""

import json
from pathlib import Path

import joblib
import numpy as np
import xgboost
from sklearn.preprocessing import StandardScaler

from producers.fleet import Fleet
from training.battery import COMBINATIONS
from worker.features import FeatureSpec
from worker.offline import offline_features
from worker.package import write_manifest
from worker.pipeline import Pipeline
from worker.reference import build_reference

TREES, DEPTH = 200, 6
_MODULES, _STEPS = 64, 200
_ROLLED = ("avg_surface_temp_c", "voltage_v", "current_a")


def write_model(directory: Path, pipeline: Pipeline) -> None:
    """Write a package with the battery model's 30 features and 200 trees of depth 6.

    How long a score takes depends on the number and depth of the trees and on how readings spread over their
    branches, not on the leaves' values. So the features are a simulated fleet's, and the labels are noise, which
    grows every tree to its full depth; they stay so low that a healthy fleet raises no alarm, as in life.

    Args:
        directory: gets the package.
        pipeline: names the sensors and the topology.
    """
    spec = FeatureSpec(
        sensors=pipeline.input.sensors(),
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
        np.concatenate([step.values for step in steps]),
        np.tile(spec.scales(dict(pipeline.topology.default)), (_MODULES, 1)),
    )
    scaler = StandardScaler().fit(features)
    noise = np.random.default_rng(0).uniform(0, 0.2, len(features))
    matrix = xgboost.DMatrix(scaler.transform(features), noise, missing=np.nan)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1}, matrix, TREES)

    directory.mkdir(parents=True)
    booster.save_model(directory / "booster.ubj")
    joblib.dump(scaler, directory / "scaler.joblib")
    (directory / "features.json").write_text(spec.model_dump_json())
    policy = {"setpoint": 0.5, "deadband": 0.1, "on_delay_ms": 20_000, "off_delay_ms": 60_000}
    (directory / "alarm.json").write_text(json.dumps(policy | {"priorities": {"HIGH": 0.5, "CRITICAL": 0.9}}))
    (directory / "metrics.json").write_text("{}")
    probability = booster.inplace_predict(scaler.transform(features), missing=np.nan)
    reference = build_reference(spec.names, features, probability, COMBINATIONS)
    (directory / "reference.json").write_text(json.dumps(reference))
    np.savez(directory / "golden.npz", features=features[:100], probability=probability[:100])
    write_manifest(directory, name="benchmark", created_at="", schema_fingerprint="", libraries={})
