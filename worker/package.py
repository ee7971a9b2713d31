"""The model package: one directory that holds all a worker needs to score, with a digest of every file.

manifest.json    name, digests (SHA-256) of the other files, library versions, schema fingerprint
features.json    FeatureSpec
booster.ubj      XGBoost's own format
scaler.joblib    scikit-learn scaler; pickled, hence read only after its digest was checked
alarm.json       AlarmPolicy: setpoint (the threshold), deadband, delays, priorities
reference.json   training histogram of each feature
golden.npz       features [g, f] and probability [g]: what this model must give for these rows
metrics.json     how well it did in training
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import xgboost
from pydantic import BaseModel, ConfigDict, ValidationError

from worker.alarms import AlarmPolicy
from worker.features import FeatureSpec, Float

MANIFEST = "manifest.json"
FORMAT = 1
# XGBoost sums its trees in float32; other builds and processors may differ in the last bits, never by more.
GOLDEN_TOLERANCE = 1e-5


class PackageError(Exception):
    """A model package that must not be used; the text names the fault."""


class Manifest(BaseModel):
    """What manifest.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    created_at: str
    schema_fingerprint: str
    libraries: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True)
class ModelPackage:
    """A verified model, ready to score."""

    name: str
    version: str
    manifest: Manifest
    spec: FeatureSpec
    policy: AlarmPolicy
    metrics: dict[str, Any]
    reference: dict[str, Any]
    _scaler: Any
    _booster: xgboost.Booster

    def score(self, features: Float) -> Float:
        """Hazard probability of each row of features [n, f], shape [n]. A row's score does not depend on the others."""
        probability = self._booster.inplace_predict(self._scaler.transform(features), missing=np.nan)
        return np.asarray(probability, np.float64)

    def contributions(self, features: Float) -> tuple[Float, Float]:
        """Exact SHAP contributions to the log-odds [n, f], and the bias they start from [n].

        Lundberg et al. 2020, TreeSHAP as built into XGBoost.
        """
        matrix = xgboost.DMatrix(self._scaler.transform(features), missing=np.nan, nthread=1)
        parts = np.asarray(self._booster.predict(matrix, pred_contribs=True), np.float64)
        return parts[:, :-1], parts[:, -1]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    directory: Path, *, name: str, created_at: str, schema_fingerprint: str, libraries: dict[str, str]
) -> str:
    """Seal a package directory: write manifest.json over the files in it, and return the manifest's own digest."""
    files = {
        str(p.relative_to(directory)): digest(p)
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }
    manifest = Manifest(
        format=FORMAT,
        name=name,
        created_at=created_at,
        schema_fingerprint=schema_fingerprint,
        libraries=libraries,
        files=files,
    )
    path = directory / MANIFEST
    path.write_text(json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n")
    return digest(path)


def load_package(directory: Path, *, version: str, expected_digest: str | None = None) -> ModelPackage:
    """Load a package: digests first, then the files, then proof on the golden rows.

    Args:
        directory: where manifest.json is.
        version: the registry's version, stamped on predictions.
        expected_digest: digest of manifest.json as the registry has it, if it has one.

    Raises:
        PackageError: a file is missing, altered or unreadable, or the golden rows score differently.
    """
    manifest = _verified_manifest(directory, expected_digest)
    try:
        spec = FeatureSpec.model_validate_json((directory / "features.json").read_text())
        policy = AlarmPolicy.model_validate_json((directory / "alarm.json").read_text())
        metrics = json.loads((directory / "metrics.json").read_text())
        reference = json.loads((directory / "reference.json").read_text())
        scaler = joblib.load(directory / "scaler.joblib")
        booster = xgboost.Booster(model_file=str(directory / "booster.ubj"))
        golden = np.load(directory / "golden.npz")
        features, expected = golden["features"], golden["probability"]
    except (OSError, ValueError, KeyError, EOFError, ValidationError, xgboost.core.XGBoostError) as error:
        raise PackageError(f"model package {directory}: {type(error).__name__}: {error}") from error
    booster.set_param({"nthread": 1})
    package = ModelPackage(manifest.name, version, manifest, spec, policy, metrics, reference, scaler, booster)
    if features.shape[1] != len(spec.names):
        raise PackageError(
            f"model package {directory}: golden rows have {features.shape[1]} features, features.json {len(spec.names)}"
        )
    try:
        off = np.abs(package.score(features) - expected)
    except (ValueError, xgboost.core.XGBoostError) as error:
        raise PackageError(f"model package {directory}: its golden rows cannot be scored: {error}") from error
    if not (off <= GOLDEN_TOLERANCE).all():
        raise PackageError(
            f"model package {directory}: golden rows score off by up to {off.max():.2g}; expected {GOLDEN_TOLERANCE}"
        )
    return package


def _verified_manifest(directory: Path, expected_digest: str | None) -> Manifest:
    path = directory / MANIFEST
    if not path.is_file():
        raise PackageError(f"no model package in {directory}: {MANIFEST} is missing")
    if expected_digest is not None and digest(path) != expected_digest:
        raise PackageError(f"model package {directory}: {MANIFEST} is not the one that was registered (digest differs)")
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except ValidationError as error:
        raise PackageError(f"model package {directory}: {MANIFEST} is not readable: {error}") from error
    if manifest.format != FORMAT:
        raise PackageError(f"model package {directory}: format {manifest.format}, this worker reads {FORMAT}")
    for name, expected in manifest.files.items():
        file = directory / name
        if not file.is_file():
            raise PackageError(f"model package {directory}: {name} is missing")
        if digest(file) != expected:
            raise PackageError(f"model package {directory}: {name} was altered (digest differs)")
    for needed in (
        "features.json",
        "alarm.json",
        "metrics.json",
        "reference.json",
        "scaler.joblib",
        "booster.ubj",
        "golden.npz",
    ):
        if needed not in manifest.files:
            raise PackageError(f"model package {directory}: {needed} is not in the manifest")
    return manifest
