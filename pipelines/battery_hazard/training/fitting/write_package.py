"""Writes a trained model as a package: the files that worker/model/package_files.py describes, and a manifest."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from sklearn.preprocessing import StandardScaler

from common.arrays import Float
from common.errors import UserError
from common.times import iso_now
from pipelines.battery_hazard import FOLDER
from pipelines.battery_hazard.training.datasets.features import COMBINATIONS, RECORD
from schemas.folder import SchemaFolder
from schemas.wire import fingerprint
from worker.alarms.state_machine import AlarmPolicy
from worker.model.assessable import ASSESSABLE, Assessable
from worker.model.mlflow_client import prepare_mlflow
from worker.model.monotone import sign_faults
from worker.model.package_files import FORMAT, SCALER, write_manifest
from worker.model.reference import build_reference
from worker.model.scaler import Scaler
from worker.windows.feature_spec import FeatureSpec

_GOLDEN_ROWS = 64
_LIBRARIES = ("numpy", "scikit-learn", "xgboost")


@dataclass(frozen=True)
class TrainedModel:
    """The result of training: the model, its alarm policy and its metrics.

    Attributes:
        scaler: scikit-learn's, or the steps as a package has them; None: the model needs none.
        assessable: what it can judge; None: everything.
    """

    name: str
    spec: FeatureSpec
    scaler: StandardScaler | Scaler | None
    booster: xgboost.Booster
    policy: AlarmPolicy
    metrics: dict[str, Any]
    card: str
    assessable: Assessable | None = None


def write_package(directory: Path, model: TrainedModel, normal: Float, unseen: Float) -> str:
    """Write all files of a package, and last the manifest with their digests.

    Args:
        directory: is created.
        model: the model.
        normal: features of normal operation [n, f], as the reference for drift.
        unseen: features that were not used for training [m, f]; the golden rows are taken from them.

    Returns:
        Digest of the manifest.

    Raises:
        UserError: the model does not keep to the signs of its features.
    """
    scale = None if model.scaler is None else _numbers(model.scaler).scale(len(model.spec.names))
    if fault := next(sign_faults(model.spec, model.booster, scale), None):
        raise UserError(f"{fault}; train it with these signs as monotone_constraints")
    directory.mkdir(parents=True)
    model.booster.save_model(directory / "booster.ubj")
    if model.scaler is not None:
        _write_json(directory / SCALER, _numbers(model.scaler).model_dump(exclude_none=True))
    _write_json(directory / "features.json", model.spec.model_dump())
    _write_json(directory / "alarm.json", model.policy.model_dump())
    if model.assessable is not None:
        _write_json(directory / ASSESSABLE, model.assessable.model_dump())
    _write_json(directory / "metrics.json", model.metrics)
    (directory / "model-card.md").write_text(model.card)
    known = build_reference(model.spec.names, normal, _probability(model, normal), COMBINATIONS)
    _write_json(directory / "reference.json", known)
    golden = golden_rows(model, unseen)
    np.savez(directory / "golden.npz", features=golden, probability=_probability(model, golden))
    _write_mlmodel(directory, model.spec)
    return write_manifest(
        directory,
        name=model.name,
        created_at=iso_now(),
        schema_fingerprint=fingerprint(SchemaFolder(FOLDER).record(RECORD).schema).value.hex(),
        libraries={name: _version(name) for name in _LIBRARIES},
    )


def _numbers(scaler: StandardScaler | Scaler) -> Scaler:
    if isinstance(scaler, Scaler):
        return scaler
    return Scaler(subtract=scaler.mean_.tolist(), divide=scaler.scale_.tolist())


def _probability(model: TrainedModel, features: Float) -> Float:
    scaled = features if model.scaler is None else _numbers(model.scaler).scale(features.shape[1])(features)
    return np.asarray(model.booster.inplace_predict(scaled, missing=np.nan), np.float64)


def golden_rows(model: TrainedModel, features: Float) -> Float:
    """Rows [g, f] over the range of the model's output, some with missing values; the last has no values at all."""
    by_probability = np.argsort(_probability(model, features))
    spread = by_probability[np.linspace(0, len(by_probability) - 1, _GOLDEN_ROWS // 2).astype(np.int64)]
    incomplete = np.flatnonzero(np.isnan(features).any(axis=1))
    some = incomplete[np.linspace(0, len(incomplete) - 1, _GOLDEN_ROWS // 2 - 1).astype(np.int64)]
    return np.concatenate((features[spread], features[some], np.full((1, features.shape[1]), np.nan)))


def _write_mlmodel(directory: Path, spec: FeatureSpec) -> None:
    """Write MLflow's own description, so that MLflow shows the package as a model with a signature."""
    prepare_mlflow()
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, DataType, Schema  # noqa: PLC0415

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.double, name, required=False) for name in spec.names]),
        outputs=Schema([ColSpec(DataType.double, "probability")]),
    )
    flavors = {"hazardstream": {"package_format": FORMAT, "loader": "worker.model.package.load_package"}}
    Model(flavors=flavors, signature=signature).save(str(directory / "MLmodel"))


def _version(name: str) -> str:
    # The CPU-only distribution of XGBoost has another name.
    return str(xgboost.__version__) if name == "xgboost" else version(name)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
