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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from worker.alarms import AlarmPolicy
from worker.boosting import xgboost
from worker.errors import UserError
from worker.features import FeatureSpec, Float
from worker.reference import Reference
from worker.scaler import Scale, read_scaler

MANIFEST = "manifest.json"
FORMAT = 1
# XGBoost sums its trees in float32; other builds and processors may differ in the last bits, never by more.
GOLDEN_TOLERANCE = 1e-5


Fault = Literal[
    "missing_file",  # a file is not there, or not in the manifest
    "digest_mismatch",  # a file, or the manifest, is not the one that was sealed or registered
    "unreadable_manifest",
    "unknown_format",  # of a newer (or older) release
    "bad_features",  # features.json is no FeatureSpec
    "bad_thresholds",  # alarm.json, or the pipeline's overrides of it, make no alarm policy
    "bad_metadata",  # metrics.json or reference.json
    "bad_scaler",  # it cannot be unpickled
    "bad_booster",
    "crashes",  # whoever loads it
    "bad_golden_rows",  # they cannot be read
    "wrong_signature",  # not the features of its golden rows, or of a pipeline with this record
    "golden_rows_differ",  # they score differently, or not at all
    "too_slow",
    "not_there",  # the alias, version or run stands for nothing
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Why a package is refused: the label of `hazardstream_model_refused_total`."""


class PackageError(UserError):
    """A model package that must not be used; the text names the fault.

    Attributes:
        fault: its kind.
    """

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


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
    """A verified model, ready to score.

    Attributes:
        reference: of its training, for drift; a package of another maker may have none (`{}` in the file).
        golden: features of its golden rows, shape [g, f].
        directory: where it lies.
    """

    name: str
    version: str
    manifest: Manifest
    spec: FeatureSpec
    policy: AlarmPolicy
    metrics: dict[str, Any]
    reference: Reference | None
    golden: Float
    directory: Path
    _scale: Scale
    _booster: xgboost.Booster

    def score(self, features: Float) -> Float:
        """Hazard probability of each row of features [n, f], shape [n]. A row's score does not depend on the others."""
        probability = self._booster.inplace_predict(self._scale(features), missing=np.nan)
        return np.asarray(probability, np.float64)

    def contributions(self, features: Float) -> tuple[Float, Float]:
        """Exact SHAP contributions to the log-odds [n, f], and the bias they start from [n].

        Lundberg et al. 2020, TreeSHAP as built into XGBoost.
        """
        matrix = xgboost.DMatrix(self._scale(features), missing=np.nan, nthread=1)
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
    manifest = verified_manifest(directory, expected_digest)
    with _reading(directory / "features.json", "bad_features") as file:
        spec = FeatureSpec.model_validate_json(file.read_text())
    with _reading(directory / "alarm.json", "bad_thresholds") as file:
        policy = AlarmPolicy.model_validate_json(file.read_text())
    with _reading(directory / "metrics.json", "bad_metadata") as file:
        metrics = TypeAdapter(dict[str, Any]).validate_json(file.read_text())
    with _reading(directory / "reference.json", "bad_metadata") as file:
        histograms = json.loads(file.read_text())
        if histograms and list(histograms["features"]) != spec.names:
            raise PackageError(
                "wrong_signature", f"model package {directory}: features.json and {file.name} name other features"
            )
        reference = Reference(histograms) if histograms else None
    with _reading(directory / "scaler.joblib", "bad_scaler") as file:
        scale = read_scaler(file)
    with _reading(directory / "booster.ubj", "bad_booster") as file:
        booster = xgboost.Booster(model_file=str(file))
        booster.set_param({"nthread": 1})
    with _reading(directory / "golden.npz", "bad_golden_rows") as file, np.load(file) as golden:
        features, expected = golden["features"], golden["probability"]
    package = ModelPackage(
        manifest.name, version, manifest, spec, policy, metrics, reference, features, directory, scale, booster
    )
    _prove(package, expected, directory)
    return package


@contextmanager
def _reading(file: Path, fault: Fault) -> Iterator[Path]:
    try:
        yield file
    except PackageError:
        raise
    except Exception as error:  # unpickling raises whatever the pickled code does
        raise PackageError(
            fault, f"model package {file.parent}: {file.name}: {type(error).__name__}: {error}"
        ) from error


def _prove(package: ModelPackage, expected: Float, directory: Path) -> None:
    golden, names = package.golden, package.spec.names
    if not len(golden) or len(golden) != len(expected):
        raise PackageError(
            "bad_golden_rows",
            f"model package {directory}: {len(golden)} golden rows and {len(expected)} scores prove nothing",
        )
    if golden.ndim != 2 or golden.shape[1] != len(names):
        raise PackageError(
            "wrong_signature",
            f"model package {directory}: golden rows have {golden.shape[-1]} features, features.json {len(names)}",
        )
    try:
        off = np.abs(package.score(golden) - expected)
    except Exception as error:  # whatever the unpickled scaler raises
        raise PackageError(
            "golden_rows_differ", f"model package {directory}: its golden rows cannot be scored: {error}"
        ) from error
    if not (off <= GOLDEN_TOLERANCE).all():
        raise PackageError(
            "golden_rows_differ",
            f"model package {directory}: golden rows score off by up to {off.max():.2g}; expected {GOLDEN_TOLERANCE}",
        )


def verified_manifest(directory: Path, expected_digest: str | None) -> Manifest:
    """The manifest of a package whose files are all there and as it says; none of them is loaded.

    Raises:
        PackageError: they are not.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise PackageError("missing_file", f"no model package in {directory}: {MANIFEST} is missing")
    if expected_digest is not None and digest(path) != expected_digest:
        raise PackageError(
            "digest_mismatch",
            f"model package {directory}: {MANIFEST} is not the one that was registered (digest differs)",
        )
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except ValidationError as error:
        raise PackageError(
            "unreadable_manifest", f"model package {directory}: {MANIFEST} is not readable: {error}"
        ) from error
    if manifest.format != FORMAT:
        raise PackageError(
            "unknown_format", f"model package {directory}: format {manifest.format}, this worker reads {FORMAT}"
        )
    for name, expected in manifest.files.items():
        file = directory / name
        if not file.is_file():
            raise PackageError("missing_file", f"model package {directory}: {name} is missing")
        if digest(file) != expected:
            raise PackageError("digest_mismatch", f"model package {directory}: {name} was altered (digest differs)")
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
            raise PackageError("missing_file", f"model package {directory}: {needed} is not in the manifest")
    return manifest
